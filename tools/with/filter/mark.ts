/**
 * Offsets of VFIO regions carry a mark in their upper 16 bits. A seccomp filter cannot look at the
 * file behind a fd; by the mark it sees from the offset alone whose call it is, and all other reads
 * and writes run at native speed.
 */

/** A positive file offset stays one. */
export const MARK = 0x4c56;
const SHIFT = 48n;
const MARKED = BigInt(MARK) << SHIFT;

export const marked = (offset: bigint): bigint => offset | MARKED;

/** The offset without its mark; an offset that has none is passed through. */
export const unmarked = (offset: bigint): bigint =>
  offset >> SHIFT === BigInt(MARK) ? BigInt.asUintN(Number(SHIFT), offset) : offset;
