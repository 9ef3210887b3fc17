/**
 * Random code with jumps forwards and backwards, for the comparison of two engines. x3 and x4 point
 * to data and stay; x30 and x31 are the trap handler's. Only x1 points to code, and nothing stores
 * there: until a FENCE.I, two engines may see different code.
 */
import * as fc from 'fast-check';

import * as csrs from '../../../../guest/riscv/csr-numbers.ts';
import { INSTRUCTIONS } from '../../../../guest/riscv/instructions.ts';
import { branchTo, encode, jumpTo } from '../encode.ts';
import { instruction } from '../random-words.ts';

/** A word by its place, in words from the program's start, and the program's length. */
type Slot = (at: number, length: number) => number;

const WORK = [5, 6, 7, 8, 9, 10, 11, 12] as const;
const register = fc.constantFrom(0, 3, ...WORK);
const target = fc.nat();

const branch = fc.tuple(fc.constantFrom('beq', 'bne', 'blt', 'bge', 'bltu', 'bgeu'), register, register, target).map(
  ([name, rs1, rs2, to]): Slot =>
    (at, length) =>
      branchTo(encode(name, { rs1, rs2 }), 4 * ((to % length) - at)),
);
const jal = fc.tuple(fc.constantFrom(0, 1), target).map(
  ([rd, to]): Slot =>
    (at, length) =>
      jumpTo(encode('jal', { rd }), 4 * ((to % length) - at)),
);
/** To what a JAL or another JALR left in x1, or anywhere. */
const jalr = fc.tuple(fc.constantFrom(0, 1), fc.constantFrom(1, 1, 1, 7), fc.constantFrom(0, 0, 4, 8, 3, -4)).map(
  ([rd, rs1, imm]): Slot =>
    () =>
      encode('jalr', { rd, rs1, imm }),
);

/** Any integer instruction on registers. */
const computing = INSTRUCTIONS.filter(
  ({ format, extension, name }) =>
    /^(I|M|Zb.)$/.test(extension) &&
    ['U', 'R', 'I', 'shift', 'shiftw', 'unary'].includes(format) &&
    !/^(jalr|fence|l[bhwd]u?)$/.test(name),
).map(({ name }) => name);
const compute = fc
  .tuple(fc.constantFrom(...computing), fc.constantFrom(0, ...WORK), register, register, fc.integer())
  .map(
    ([name, rd, rs1, rs2, imm]): Slot =>
      () =>
        encode(name, { rd, rs1, rs2, imm: immediateOf(name, imm) }),
  );

function immediateOf(name: string, imm: number): number {
  const { format } = INSTRUCTIONS.find((each) => each.name === name)!;
  if (format === 'shift') return imm & 63;
  if (format === 'shiftw') return imm & 31;
  if (format === 'U') return (imm & 0xf_ffff) | 0x100; // AUIPC gives no address in RAM
  return (imm << 20) >> 20;
}

/** Anywhere: mostly a fault, or across the bound of a page or of RAM. */
const wild = fc
  .tuple(
    fc.constantFrom('lb', 'lhu', 'lw', 'ld', 'sb', 'sh', 'sw', 'sd', 'fld', 'fsw'),
    register,
    register,
    fc.integer({ min: -16, max: 16 }),
  )
  .map(
    ([name, rs1, other, imm]): Slot =>
      () =>
        encode(name, { rs1, rs2: other, rd: other === 3 ? 0 : other, imm }),
  );

const pair = fc
  .tuple(
    fc.constantFrom(0x0505, 0x4515, 0x852e, 0x952e, 0x8d0d, 0x2501, 0x8d2d, 0x8909, 0x8105),
    fc.constantFrom(0x0585, 0x45a5, 0x85aa, 0x95aa, 0x9d89),
  )
  .map(
    ([first, second]): Slot =>
      () =>
        first | (second << 16),
  );

const system = fc
  .constantFrom(0x0000_0073, 0x0010_0073, 0x1200_0073, 0x0000_100f, 0x0ff0_000f, 0xc020_2573, 0x0000_0000, 0x3003_1373)
  .map(
    (word): Slot =>
      () =>
        word,
  );

/** Some that a region executes itself, and some that end it; not all are there in every mode. */
const control = fc
  .tuple(
    fc.constantFrom('csrrw', 'csrrs', 'csrrc', 'csrrwi', 'csrrsi', 'csrrci'),
    fc.constantFrom(0, ...WORK),
    register,
    fc.constantFrom(
      ...[csrs.CSR_MSCRATCH, csrs.CSR_MEPC, csrs.CSR_MCAUSE, csrs.CSR_MTVAL, csrs.CSR_MCYCLE, csrs.CSR_MIE],
      ...[csrs.CSR_SSCRATCH, csrs.CSR_SEPC, csrs.CSR_SCAUSE, csrs.CSR_STVAL, csrs.CSR_STVEC, csrs.CSR_SIE],
      ...[csrs.CSR_FFLAGS, csrs.CSR_FRM, csrs.CSR_FCSR, csrs.CSR_CYCLE, csrs.CSR_TIME, csrs.CSR_INSTRET],
      ...[csrs.CSR_MIREG, csrs.CSR_MTOPEI, csrs.CSR_MTOPI, csrs.CSR_SIREG, csrs.CSR_STOPEI, csrs.CSR_STOPI],
    ),
  )
  .map(
    ([name, rd, rs1, csr]): Slot =>
      () =>
        encode(name, { rd, rs1, csr }),
  );

const slot = fc.oneof(
  {
    weight: 30,
    arbitrary: instruction().map(
      (word): Slot =>
        () =>
          word,
    ),
  },
  { weight: 30, arbitrary: compute },
  { weight: 8, arbitrary: branch },
  { weight: 4, arbitrary: jal },
  { weight: 3, arbitrary: jalr },
  { weight: 4, arbitrary: wild },
  { weight: 4, arbitrary: pair },
  { weight: 2, arbitrary: system },
  { weight: 6, arbitrary: control },
);

/** Ends with a jump to its beginning. */
export const randomCode = (most: number): fc.Arbitrary<readonly number[]> =>
  fc.array(slot, { minLength: 1, maxLength: most }).map((slots) => {
    const length = slots.length + 1;
    const words = slots.map((each, at) => each(at, length) >>> 0);
    return [...words, jumpTo(encode('jal'), -4 * (length - 1)) >>> 0];
  });
