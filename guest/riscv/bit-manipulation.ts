/**
 * Zba, Zbb and Zbs (unpriv-isa §29): each function gives rd of rs1 and of rs2 or the immediate.
 * Operands are signed 64-bit bigints, as in the register file. Results wrap when they are written
 * there.
 */
import type { Core } from './core.ts';
import { byInstruction, decode } from './decode.ts';

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);
const u32 = (value: bigint): bigint => BigInt.asUintN(32, value);
const low = (value: bigint): number => Number(BigInt.asIntN(32, value));
const bit = (index: bigint): bigint => 1n << (index & 63n);

/** Leading zeros of a word, and of a doubleword. */
const clzw = (a: bigint): number => Math.clz32(low(a));
const clz = (a: bigint): number => (u64(a) >> 32n === 0n ? 32 + clzw(a) : clzw(a >> 32n));
/** Trailing zeros: what is left below the lowest bit that is set. */
const ctzw = (a: bigint): number => (low(a) === 0 ? 32 : 31 - Math.clz32(low(a) & -low(a)));
const ctz = (a: bigint): number => (low(a) === 0 ? 32 + ctzw(a >> 32n) : ctzw(a));

function cpopw(a: bigint): number {
  let count = 0;
  for (let rest = low(a); rest !== 0; rest &= rest - 1) count++;
  return count;
}

const rol = (a: bigint, n: bigint): bigint => (u64(a) << (n & 63n)) | (u64(a) >> (-n & 63n));
const ror = (a: bigint, n: bigint): bigint => rol(a, -n);
const rolw = (a: bigint, n: bigint): bigint => BigInt.asIntN(32, (u32(a) << (n & 31n)) | (u32(a) >> (-n & 31n)));
const rorw = (a: bigint, n: bigint): bigint => rolw(a, -n);

/** Every byte that is not zero becomes 0xff. */
function orcb(a: bigint): bigint {
  let result = 0n;
  for (let byte = 0xffn; byte < 1n << 64n; byte <<= 8n) if ((a & byte) !== 0n) result |= byte;
  return result;
}

/** The bytes in the opposite order. */
function rev8(a: bigint): bigint {
  let result = 0n;
  for (let at = 0n; at < 64n; at += 8n) result = (result << 8n) | ((a >> at) & 0xffn);
  return result;
}

const bclr = (a: bigint, index: bigint): bigint => a & ~bit(index);
const bext = (a: bigint, index: bigint): bigint => (a >> (index & 63n)) & 1n;
const binv = (a: bigint, index: bigint): bigint => a ^ bit(index);
const bset = (a: bigint, index: bigint): bigint => a | bit(index);

const OPERATIONS = byInstruction<(a: bigint, b: bigint) => bigint>({
  sh1add: (a, b) => b + (a << 1n),
  sh2add: (a, b) => b + (a << 2n),
  sh3add: (a, b) => b + (a << 3n),
  'add.uw': (a, b) => b + u32(a),
  'sh1add.uw': (a, b) => b + (u32(a) << 1n),
  'sh2add.uw': (a, b) => b + (u32(a) << 2n),
  'sh3add.uw': (a, b) => b + (u32(a) << 3n),
  'slli.uw': (a, n) => u32(a) << n,

  andn: (a, b) => a & ~b,
  orn: (a, b) => a | ~b,
  xnor: (a, b) => ~(a ^ b),
  clz: (a) => BigInt(clz(a)),
  clzw: (a) => BigInt(clzw(a)),
  ctz: (a) => BigInt(ctz(a)),
  ctzw: (a) => BigInt(ctzw(a)),
  cpop: (a) => BigInt(cpopw(a) + cpopw(a >> 32n)),
  cpopw: (a) => BigInt(cpopw(a)),
  'sext.b': (a) => BigInt.asIntN(8, a),
  'sext.h': (a) => BigInt.asIntN(16, a),
  'zext.h': (a) => BigInt.asUintN(16, a),
  max: (a, b) => (a - b > 0n ? a : b),
  maxu: (a, b) => (u64(a) > u64(b) ? a : b),
  min: (a, b) => (a - b < 0n ? a : b),
  minu: (a, b) => (u64(a) < u64(b) ? a : b),
  rol,
  rolw,
  ror,
  rorw,
  rori: ror,
  roriw: rorw,
  'orc.b': orcb,
  rev8,

  bclr,
  bclri: bclr,
  bext,
  bexti: bext,
  binv,
  binvi: binv,
  bset,
  bseti: bset,
});

/** Writes rd; false if `insn` is none of these extensions. */
export function executeBitManipulation(core: Core, insn: number): boolean {
  const instruction = decode(insn);
  const operation = instruction && OPERATIONS[instruction.id];
  if (!operation) return false;
  const { x } = core;
  const second = instruction.format === 'R' ? x[(insn >>> 20) & 31]! : BigInt((insn >>> 20) & 63);
  x[(insn >>> 7) & 31] = operation(x[(insn >>> 15) & 31]!, second);
  return true;
}
