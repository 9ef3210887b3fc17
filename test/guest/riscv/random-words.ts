/**
 * Random code as machine words, which needs no assembler: arithmetic, loads and stores (misaligned
 * ones, too), AMOs, LR and SC, doubles, branches, CSRs. The registers x3 and x4 point to data and
 * stay.
 */
import * as fc from 'fast-check';

const WORK = [5, 6, 7, 8, 9, 10, 11, 12] as const;
/** Bytes from x3 on that the code may change. */
export const DATA_BYTES = 256;

const reg = fc.constantFrom(0, ...WORK);
const rd = fc.constantFrom(...WORK);

const r = (opcode: number, funct3: number, funct7: number) =>
  fc
    .tuple(rd, reg, reg)
    .map(([d, a, b]) => ((funct7 << 25) | (b << 20) | (a << 15) | (funct3 << 12) | (d << 7) | opcode) >>> 0);

const op = fc.constantFrom([0, 0], [0, 0x20], [1, 0], [2, 0], [3, 0], [4, 0], [5, 0], [6, 0], [7, 0], [0, 1], [3, 1]);
const arithmetic = op.chain(([funct3, funct7]) => r(0x33, funct3!, funct7!));

const immediate = fc
  .tuple(rd, reg, fc.constantFrom(0, 2, 3, 4, 6, 7), fc.integer({ min: -2048, max: 2047 }))
  .map(([d, a, funct3, imm]) => ((imm << 20) | (a << 15) | (funct3 << 12) | (d << 7) | 0x13) >>> 0);

const offset = fc.integer({ min: 0, max: DATA_BYTES - 8 });

const load = fc
  .tuple(rd, fc.integer({ min: 0, max: 6 }), offset)
  .map(([d, funct3, imm]) => ((imm << 20) | (3 << 15) | (funct3 << 12) | (d << 7) | 0x03) >>> 0);

const store = fc
  .tuple(reg, fc.integer({ min: 0, max: 3 }), offset)
  .map(
    ([b, funct3, imm]) =>
      (((imm >> 5) << 25) | (b << 20) | (3 << 15) | (funct3 << 12) | ((imm & 31) << 7) | 0x23) >>> 0,
  );

/** FLD, FLW, FSD and FSW, which need mstatus.FS. */
const float = fc
  .tuple(rd, fc.constantFrom(2, 3), offset, fc.boolean())
  .map(([f, width, imm, stores]) =>
    stores
      ? (((imm >> 5) << 25) | (f << 20) | (3 << 15) | (width << 12) | ((imm & 31) << 7) | 0x27) >>> 0
      : ((imm << 20) | (3 << 15) | (width << 12) | (f << 7) | 0x07) >>> 0,
  );

const AMOS = [0x00, 0x01, 0x04, 0x08, 0x0c, 0x10, 0x14, 0x18, 0x1c] as const;
const atomic = fc
  .tuple(rd, reg, fc.constantFrom(3, 4), fc.constantFrom(2, 3), fc.constantFrom(...AMOS, 0x03))
  .map(
    ([d, b, a, funct3, funct5]) => ((funct5 << 27) | (b << 20) | (a << 15) | (funct3 << 12) | (d << 7) | 0x2f) >>> 0,
  );
const reserved = fc
  .tuple(rd, fc.constantFrom(3, 4), fc.constantFrom(2, 3))
  .map(([d, a, funct3]) => ((0x02 << 27) | (a << 15) | (funct3 << 12) | (d << 7) | 0x2f) >>> 0);

/** Over the next instruction. */
const branch = fc
  .tuple(reg, reg, fc.constantFrom(0, 1, 4, 5, 6, 7))
  .map(([a, b, funct3]) => ((b << 20) | (a << 15) | (funct3 << 12) | (8 << 7) | 0x63) >>> 0);

const MSCRATCH = 0x340;
const MTVAL = 0x343;
const MINSTRET = 0xb02;
const csr = fc
  .tuple(rd, reg, fc.constantFrom(1, 2, 3), fc.constantFrom(MSCRATCH, MTVAL, MINSTRET))
  .map(([d, a, funct3, number]) => ((number << 20) | (a << 15) | (funct3 << 12) | (d << 7) | 0x73) >>> 0);

/** One instruction; `others` are of the test's own. */
export const instruction = (...others: readonly fc.WeightedArbitrary<number>[]): fc.Arbitrary<number> =>
  fc.oneof(
    { weight: 4, arbitrary: arithmetic },
    { weight: 4, arbitrary: immediate },
    { weight: 4, arbitrary: load },
    { weight: 8, arbitrary: store },
    { weight: 3, arbitrary: atomic },
    { weight: 2, arbitrary: reserved },
    { weight: 2, arbitrary: float },
    { weight: 1, arbitrary: branch },
    { weight: 1, arbitrary: csr },
    ...others,
  );
