/**
 * Programs of single instructions with random operands, which run here and under another
 * implementation of the user-level ISA, and leave what each instruction gave: its result and
 * fflags.
 */
import { INSTRUCTIONS, type Instruction } from '../../../guest/riscv/instructions.ts';
import { elfFile } from '../elf-file.ts';
import { encode, loadImmediate } from './encode.ts';

/** xorshift32: the same numbers for the same seed, everywhere. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed, 0x9e37_79b1) | 1;
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

  bits64(): bigint {
    return (BigInt(this.below(2 ** 32 - 1)) << 32n) | BigInt(this.below(2 ** 32 - 1));
  }
}

export interface Case {
  readonly instruction: Instruction;
  readonly word: number;
  readonly operands: readonly [bigint, bigint, bigint];
  readonly frm: number;
  /** fflags before it: 0, or NX, with which floating point may take a shorter way. */
  readonly fflags: 0 | 1;
}

/** Corners of integers, doubles, and singles with their box. */
const CORNERS: readonly bigint[] = [
  ...[
    0n,
    1n,
    2n ** 64n - 1n,
    2n ** 63n,
    2n ** 63n - 1n,
    2n ** 31n,
    2n ** 31n - 1n,
    2n ** 32n - 1n,
    2n ** 64n - 2n ** 31n,
  ],
  ...[0x3ff0_0000_0000_0000n, 0xbff8_0000_0000_0000n, 0x7ff0_0000_0000_0000n, 0x7ff8_0000_0000_0001n],
  ...[
    0x7ff0_0000_0000_0001n,
    0x0010_0000_0000_0000n,
    0x000f_ffff_ffff_ffffn,
    0x7fef_ffff_ffff_ffffn,
    0x0000_0000_0000_0003n,
  ],
  ...[0x41e0_0000_0000_0000n, 0x43e0_0000_0000_0000n, 0x4340_0000_0000_0001n, 0x3fe0_0000_0000_0000n],
  ...[
    0x3f80_0000n,
    0xbfc0_0000n,
    0x7f80_0000n,
    0x7fc0_0001n,
    0x7f80_0001n,
    0x0080_0000n,
    0x007f_ffffn,
    0x7f7f_ffffn,
    3n,
  ].map((single) => single | (0xffff_ffffn << 32n)),
  ...[0x4f00_0000n, 0x5f00_0000n, 0x4b00_0001n, 0x3f00_0000n, 0x8000_0000n].map(
    (single) => single | (0xffff_ffffn << 32n),
  ),
];

function operand(random: Random): bigint {
  const sign = random.of([0n, 1n << 63n, 1n << 31n]);
  switch (random.below(6)) {
    case 0:
    case 1:
      return BigInt.asUintN(64, random.of(CORNERS) ^ sign);
    case 2:
      return BigInt.asUintN(64, random.of(CORNERS) + BigInt(random.below(5)) - 2n);
    case 3: // a double of moderate size
      return (random.bits64() & 0x800f_ffff_ffff_ffffn) | (BigInt(0x3ff - 40 + random.below(80)) << 52n);
    case 4: // a single of moderate size
      return (0xffff_ffffn << 32n) | (random.bits64() & 0x807f_ffffn) | (BigInt(0x7f - 30 + random.below(60)) << 23n);
    default:
      return random.bits64();
  }
}

/** Instructions that only compute. */
const COMPUTING = INSTRUCTIONS.filter(({ name, format, extension }) => {
  if (/^(fence|jalr|l[bhwd]u?$|fl[wd]|fs[wd]$)/.test(name)) return false;
  return extension !== 'A' && ['I', 'R', 'shift', 'shiftw', 'unary', 'fma', 'Rrm', 'unaryrm'].includes(format);
});

/**
 * QEMU before 8.0 counts on into the upper half there; unpriv-isa §29.4.2 says 32.
 */
const isKnownDefect = ({ instruction, operands }: Case): boolean =>
  instruction.name === 'ctzw' && (operands[0] & 0xffff_ffffn) === 0n;

/** x5–x7 and f5–f7 hold the operands, x8 or f8 takes the result. */
export function makeCases(seed: number, count: number): Case[] {
  const random = new Random(seed);
  const cases = Array.from({ length: count }, (): Case => {
    const instruction = random.of(COMPUTING);
    const { name, format } = instruction;
    const bits = format === 'shift' ? 64 : 32;
    const imm = format === 'I' ? random.below(4096) - 2048 : random.below(bits);
    const rm = random.of([0, 1, 2, 3, 4, 7]);
    const word = encode(name, { rd: 8, rs1: 5, rs2: 6, rs3: 7, imm, rm });
    const operands = [operand(random), operand(random), operand(random)] as const;
    return { instruction, word, operands, frm: random.below(5), fflags: random.of([0, 1]) };
  });
  return cases.filter((each) => !isKnownDefect(each));
}

/** Its low 12 bits are those of its place in the file, as a loader that maps pages needs it. */
const CODE = 0x1_0078;
/** Bytes that a case has: three operands, the result in x, the result in f, fflags. */
export const RECORD = 48;
const FFLAGS = 1;
const FRM = 2;
const SYS_WRITE = 64;
const SYS_EXIT = 93;

/** Runs all cases and writes their records to stdout, as a Linux program; x9 points to a record. */
export function programOf(cases: readonly Case[]): { elf: Uint8Array; words: readonly number[]; data: number } {
  const body = cases.flatMap(({ word, frm, fflags }) => [
    ...[5, 6, 7].map((rd, i) => encode('ld', { rd, rs1: 9, imm: 8 * i })),
    ...[5, 6, 7].map((rd, i) => encode('fld', { rd, rs1: 9, imm: 8 * i })),
    encode('addi', { rd: 8 }),
    encode('fmv.d.x', { rd: 8 }),
    encode('csrrwi', { rs1: frm, csr: FRM }),
    encode('csrrwi', { rs1: fflags, csr: FFLAGS }),
    word,
    encode('csrrs', { rd: 10, csr: FFLAGS }),
    encode('sd', { rs1: 9, rs2: 8, imm: 24 }),
    encode('fsd', { rs1: 9, rs2: 8, imm: 32 }),
    encode('sd', { rs1: 9, rs2: 10, imm: 40 }),
    encode('addi', { rd: 9, rs1: 9, imm: RECORD }),
  ]);
  const tail = (data: number) => [
    ...loadImmediate(10, 1),
    ...loadImmediate(11, data),
    ...loadImmediate(12, RECORD * cases.length),
    ...loadImmediate(17, SYS_WRITE),
    encode('ecall'),
    ...loadImmediate(10, 0),
    ...loadImmediate(17, SYS_EXIT),
    encode('ecall'),
  ];
  const length = 4 * (loadImmediate(9, 0).length + body.length + tail(0).length);
  const data = Math.ceil((CODE + length) / 16) * 16;
  const words = [...loadImmediate(9, data), ...body, ...tail(data)];
  const bytes = new Uint8Array(data - CODE + RECORD * cases.length);
  const view = new DataView(bytes.buffer);
  for (const [i, word] of words.entries()) view.setInt32(4 * i, word, true);
  for (const [i, { operands }] of cases.entries()) {
    for (const [j, value] of operands.entries()) view.setBigUint64(data - CODE + RECORD * i + 8 * j, value, true);
  }
  return { elf: elfFile({ entry: CODE, loads: [{ paddr: CODE, bytes }] }), words, data };
}

/** A readable line per case, for a comparison. */
export function report(cases: readonly Case[], records: DataView): string[] {
  const hex = (value: bigint) => value.toString(16).padStart(16, '0');
  return cases.map(({ instruction, word, operands, frm }, i) => {
    const [x, f, fflags] = [24, 32, 40].map((at) => records.getBigUint64(RECORD * i + at, true));
    const rm = (word >>> 12) & 7;
    const given = `${instruction.name} ${(word >>> 0).toString(16)} rm ${rm} frm ${frm} (${operands.map(hex).join(' ')})`;
    return `${given} x ${hex(x!)} f ${hex(f!)} fflags ${fflags}`;
  });
}

export { CODE };
