import { describe, expect, it } from 'vitest';

import { decode } from '../../../guest/riscv/decode.ts';
import { execute } from '../../../guest/riscv/execute.ts';
import { INSTRUCTIONS, type Instruction } from '../../../guest/riscv/instructions.ts';
import { assemble, hasAssembler } from './assembler.ts';
import { encode } from './encode.ts';
import { createCore, createHart, RAM_BASE } from './fixture.ts';

const FS_INITIAL = 1 << 13;
const CAUSE_ILLEGAL = 2n;

/** Every combination of opcode, funct3, funct7 and rs2, with two destinations. */
function* words(): Generator<number> {
  for (let opcode = 3; opcode < 128; opcode += 4) {
    for (let funct3 = 0; funct3 < 8; funct3++) {
      for (let upper = 0; upper < 4096; upper++) {
        yield (upper << 20) | (funct3 << 12) | (upper & 1 ? 0x500 : 0x580) | opcode;
      }
    }
  }
}

/** What decides beside the table: CSRs that exist, a rounding mode that is reserved. */
function mayBeIllegal(word: number, { format, extension }: Instruction): boolean {
  const rm = (word >>> 12) & 7;
  if (format === 'fma' || format === 'Rrm' || format === 'unaryrm') return rm === 5 || rm === 6;
  return extension === 'Zicsr';
}

describe('the decode table', () => {
  it('names every word once at most', () => {
    const ambiguous = INSTRUCTIONS.flatMap((a) =>
      INSTRUCTIONS.filter((b) => a.id < b.id && ((a.match ^ b.match) & a.mask & b.mask) === 0).map(
        (b) => `${a.name} ${b.name}`,
      ),
    );
    expect(ambiguous).toEqual([]);
  });

  it('knows exactly the words that the hart executes', () => {
    const { core, ram } = createCore();
    const wrong: string[] = [];
    for (const word of words()) {
      const instruction = decode(word);
      if (instruction && mayBeIllegal(word, instruction)) continue;
      ram[0] = word;
      core.pc = RAM_BASE;
      core.csr.mcause = 0n;
      core.csr.mstatus = FS_INITIAL;
      execute(core, 1);
      const executed = core.csr.mcause !== CAUSE_ILLEGAL;
      if (executed !== (instruction !== undefined)) wrong.push((word >>> 0).toString(16));
    }
    expect(wrong).toEqual([]);
  });

  it.each([
    ['fadd.d with rm 5', 0x02b5_5553],
    ['fadd.d with rm 6', 0x02b5_6553],
  ])('leaves a reserved rounding mode to the hart, which refuses it: %s', (_, word) => {
    const { hart, ram } = createHart();
    ram.setInt32(0, word, true);
    hart.restore({ ...hart.save(), mstatus: FS_INITIAL });
    hart.run(1);
    expect([decode(word)?.name, hart.save().mcause]).toEqual(['fadd.d', CAUSE_ILLEGAL]);
  });
});

/** An example of an instruction as assembly, and its word. */
function example({ name, format, extension }: Instruction): { text: string; word: number } {
  const f = extension === 'F' || extension === 'D' ? 'f' : 'x';
  // conversions, moves, comparisons and classes have x registers on one side
  const d = /^(fcvt\.[wl]u?|fmv\.x|fclass|fle|flt|feq)\b/.test(name) ? 'x' : f;
  const s = /^(fcvt\.[sd]\.[wl]|fmv\.[wd]\.x)/.test(name) ? 'x' : f;
  const [rd, rs1, rs2, rs3] = [13, 22, 25, 30];
  const operands = { rd, rs1, rs2, rs3 };
  const loads = /^(l[bhwd]u?|fl[wd])$/.test(name);
  const rounds = !/^fcvt\.d\.(wu?|s)$/.test(name);
  switch (format) {
    case 'U':
      return { text: `${name} x13, 0xabcde`, word: encode(name, { rd, imm: 0xabcde }) };
    case 'I':
      if (name.startsWith('fence'))
        return {
          text: name === 'fence' ? 'fence rw, rw' : name,
          word: encode(name, { imm: name === 'fence' ? 0x33 : 0 }),
        };
      if (loads || name === 'jalr') {
        return { text: `${name} ${f}13, -1234(x22)`, word: encode(name, { rd, rs1, imm: -1234 }) };
      }
      return { text: `${name} x13, x22, -1234`, word: encode(name, { rd, rs1, imm: -1234 }) };
    case 'S':
      return { text: `${name} ${f}25, -1234(x22)`, word: encode(name, { rs1, rs2, imm: -1234 }) };
    case 'B':
      return { text: `${name} x22, x25, .`, word: encode(name, { rs1, rs2 }) };
    case 'J':
      return { text: `${name} x13, .`, word: encode(name, { rd }) };
    case 'R':
      return { text: `${name} ${d}13, ${s}22, ${s}25`, word: encode(name, { rd, rs1, rs2 }) };
    case 'Rrm':
      return { text: `${name} f13, f22, f25, rup`, word: encode(name, { rd, rs1, rs2, rm: 3 }) };
    case 'fma':
      return { text: `${name} f13, f22, f25, f30, dyn`, word: encode(name, { ...operands, rm: 7 }) };
    case 'unaryrm':
      return rounds
        ? { text: `${name} ${d}13, ${s}22, rmm`, word: encode(name, { rd, rs1, rm: 4 }) }
        : { text: `${name} ${d}13, ${s}22`, word: encode(name, { rd, rs1 }) };
    case 'shift':
    case 'shiftw':
      return { text: `${name} x13, x22, 21`, word: encode(name, { rd, rs1, imm: 21 }) };
    case 'unary':
      return { text: `${name} ${d}13, ${s}22`, word: encode(name, { rd, rs1 }) };
    case 'amo':
      return { text: `${name} x13, x25, (x22)`, word: encode(name, { rd, rs1, rs2 }) };
    case 'lr':
      return { text: `${name} x13, (x22)`, word: encode(name, { rd, rs1 }) };
    case 'csr':
      return {
        text: `${name} x13, 0x341, ${name.endsWith('i') ? 22 : 'x22'}`,
        word: encode(name, { rd, rs1, csr: 0x341 }),
      };
    case 'fence':
      return { text: `${name} x22, x25`, word: encode(name, { rs1, rs2 }) };
    case 'none':
      return { text: name, word: encode(name) };
  }
}

it.runIf(hasAssembler)('every instruction is encoded as GNU as encodes it', () => {
  const examples = INSTRUCTIONS.map(example);
  const words = assemble(examples.map(({ text }) => text));
  const hexadecimal = (word: number) => (word >>> 0).toString(16).padStart(8, '0');
  expect(examples.map(({ text, word }) => `${hexadecimal(word)} ${text}`)).toEqual(
    examples.map(({ text }, i) => `${words[i]} ${text}`),
  );
});
