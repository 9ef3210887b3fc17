/** Random straight-line RV64IMAC code, for a comparison with another implementation of the ISA. */

const SAVED = Array.from({ length: 31 }, (_, i) => i + 1).filter((n) => n !== 2);
/** The registers the code computes with: x3 and x4 point to memory, x1 and x2 stay as they are. */
const WORK = Array.from({ length: 27 }, (_, i) => i + 5);

const REGISTER =
  'add sub sll slt sltu xor srl sra or and addw subw sllw srlw sraw mul mulh mulhsu mulhu mulw div divu rem remu divw divuw remw remuw'.split(
    ' ',
  );
const IMMEDIATE = 'addi slti sltiu xori ori andi addiw'.split(' ');
const SHIFT = { slli: 64, srli: 64, srai: 64, slliw: 32, srliw: 32, sraiw: 32 };
const LOAD = 'lb lh lw ld lbu lhu lwu'.split(' ');
const STORE = 'sb sh sw sd'.split(' ');
const BRANCH = 'beq bne blt bge bltu bgeu'.split(' ');
const AMO = 'swap add xor and or min max minu maxu'.split(' ');
const CORNERS = ['0', '-1', '1', '-1 << 63', '(1 << 63) - 1', '-1 << 31', '1 << 31', '1 << 32'];

/** Bytes of the memory that the code loads and stores, misaligned too. */
const BUFFER = 4096;

/** xorshift32: the same numbers for the same seed, everywhere. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 1;
  }

  below(n: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % n;
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/** One instruction or a few; x4 points to 256 doublewords of random input. */
function instruction(random: Random): string {
  const any = () => `x${random.of([0, ...WORK])}`;
  const work = () => `x${random.of(WORK)}`;
  const kind = random.below(100);
  if (kind < 40) return `${random.of(REGISTER)} ${any()}, ${any()}, ${any()}`;
  if (kind < 50) return `${random.of(IMMEDIATE)} ${any()}, ${any()}, ${random.below(4096) - 2048}`;
  if (kind < 60) {
    const [name, bits] = random.of(Object.entries(SHIFT));
    return `${name} ${any()}, ${any()}, ${random.below(bits)}`;
  }
  if (kind < 64) return `lui ${any()}, ${random.below(1 << 20)}`;
  if (kind < 66) return `auipc ${any()}, ${random.below(1 << 20)}`;
  if (kind < 73) return `${random.of(LOAD)} ${any()}, ${random.below(2000)}(x3)`;
  if (kind < 80) return `${random.of(STORE)} ${any()}, ${random.below(2000)}(x3)`;
  if (kind < 84) return `amo${random.of(AMO)}.${random.of(['w', 'd'])} ${any()}, ${any()}, (x3)`;
  if (kind < 89) return `${random.of(BRANCH)} ${any()}, ${any()}, 1f\naddi x5, x5, 1\n1:`;
  if (kind < 91) return `jal ${work()}, 1f\naddi x6, x6, 1\n1:`;
  if (kind < 93) return `li ${work()}, ${random.of(CORNERS)}`;
  // fresh values: what is left of old ones soon is 0, 1 and -1
  return `ld ${work()}, ${8 * random.below(256)}(x4)`;
}

/**
 * `void block(unsigned long values[256])`: loads x5–x31 from `values`, executes `length` random
 * steps, stores them back.
 */
export function randomBlock(seed: number, length: number): string {
  const random = new Random(seed);
  return [
    '.globl block',
    'block: addi sp, sp, -256',
    ...SAVED.map((n) => `sd x${n}, ${8 * n}(sp)`),
    'csrw mscratch, a0',
    'la x3, buffer',
    'mv x4, a0',
    ...WORK.map((n) => `ld x${n}, ${8 * n}(x4)`),
    ...Array.from({ length }, () => instruction(random)),
    'csrr x4, mscratch',
    ...WORK.map((n) => `sd x${n}, ${8 * n}(x4)`),
    ...SAVED.map((n) => `ld x${n}, ${8 * n}(sp)`),
    'addi sp, sp, 256',
    'ret',
    `.bss\n.balign 8\nbuffer: .space ${BUFFER}`,
    '',
  ].join('\n');
}

/** Calls block() a few times with other values and prints every register after each. */
export const RANDOM_MAIN = `
#include "lib/console.h"

void block(u64 values[256]);
static u64 values[256];

int main(void)
{
	u64 s = 88172645463325252ul;

	for (int call = 0; call < 10; call++) {
		for (int i = 0; i < 256; i++) {
			s ^= s << 13;
			s ^= s >> 7;
			s ^= s << 17;
			values[i] = i & 3 ? s : (u64)(long)(int)s;
		}
		block(values);
		for (int i = 5; i < 32; i++)
			print("%lx ", values[i]);
		print("\\n");
	}
	return 0;
}
`;
