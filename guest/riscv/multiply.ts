/**
 * The operations of the M extension that need more than one operator (unpriv-isa §13). Arguments
 * are signed 64-bit bigints, as in the register file. Results wrap when they are written there.
 */

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);

/** MULH: upper half of signed × signed. */
export const mulh = (a: bigint, b: bigint): bigint => (a * b) >> 64n;
/** MULHSU: upper half of signed × unsigned. */
export const mulhsu = (a: bigint, b: bigint): bigint => (a * u64(b)) >> 64n;
/** MULHU: upper half of unsigned × unsigned. */
export const mulhu = (a: bigint, b: bigint): bigint => (u64(a) * u64(b)) >> 64n;

// Division by zero and overflow do not trap: unpriv-isa §13.2, table 11. -2^63 / -1 = 2^63, which
// wraps to -2^63.
/** DIV */
export const div = (a: bigint, b: bigint): bigint => (b === 0n ? -1n : a / b);
/** DIVU */
export const divu = (a: bigint, b: bigint): bigint => (b === 0n ? -1n : u64(a) / u64(b));
/** REM */
export const rem = (a: bigint, b: bigint): bigint => (b === 0n ? a : a % b);
/** REMU */
export const remu = (a: bigint, b: bigint): bigint => (b === 0n ? a : u64(a) % u64(b));

/** DIVW. -2^31 / -1 = 2^31, which `| 0` wraps to -2^31. */
export const divw = (a: number, b: number): number => (b === 0 ? -1 : (a / b) | 0);
/** DIVUW */
export const divuw = (a: number, b: number): number => (b === 0 ? -1 : ((a >>> 0) / (b >>> 0)) | 0);
/** REMW */
export const remw = (a: number, b: number): number => (b === 0 ? a : (a % b) | 0);
/** REMUW */
export const remuw = (a: number, b: number): number => (b === 0 ? a : ((a >>> 0) % (b >>> 0)) | 0);
