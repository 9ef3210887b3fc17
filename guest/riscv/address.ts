/**
 * Addresses as numbers and as the 64-bit values that software sees. They pass through memory as
 * two halves: BigInt() of a number that is no int32, and arithmetic on bigints, are calls into the
 * runtime.
 */
const halves = new Int32Array(2); // low half first; no shared memory, as in execute.ts
const value64 = new BigUint64Array(halves.buffer);

/** HOT. An exact pc or vaddr as 64 bits; an address of the upper half is negative. */
export function bitsOf(address: number): bigint {
  halves[0] = address; // ToInt32: modulo 2^32
  halves[1] = Math.floor(address / 0x1_0000_0000);
  return value64[0]!;
}

/** HOT. 64 bits as an address, which isExact (memory.ts) may find to be none. */
export function addressOf(value: bigint): number {
  value64[0] = value;
  return halves[1]! * 0x1_0000_0000 + (halves[0]! >>> 0);
}
