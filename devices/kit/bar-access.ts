/**
 * Makes the accesses of the bus fit a device's registers: an access of a size that the device does
 * not take is split or refused (docs/machine.md, "Register accesses": the rules of QEMU's memory
 * regions). Registers are little endian.
 */
import type { Halves } from '../../platform/mailbox.ts';

export interface AccessRules {
  /** Smallest and largest access the registers take, in bytes. */
  readonly min: 1 | 2 | 4 | 8;
  readonly max: 1 | 2 | 4 | 8;
  /**
   * An access that is larger than `max` or not aligned to its size: split into aligned pieces, or
   * refused as a whole.
   */
  readonly odd: 'split' | 'refuse';
  /**
   * An access below `min`: refused, or made with `min` bytes at its offset, of which a read keeps
   * the low ones.
   */
  readonly small: 'widen' | 'refuse';
}

export interface Registers {
  /** An aligned read of a size the rules allow. */
  read(offset: number, size: number): Halves;
  write(offset: number, size: number, lo: number, hi: number): void;
}

export const ONES: Halves = { lo: 0xffffffff, hi: 0xffffffff };
export const ZERO: Halves = { lo: 0, hi: 0 };

/** A 32-bit register value. */
export const word = (value: number): Halves => ({ lo: value >>> 0, hi: 0 });

/**
 * The size of the pieces of an access: the largest power of two that the offset's alignment, `size`
 * and `max` allow.
 */
function pieceSize(offset: number, size: number, max: number): number {
  let piece = Math.min(size, max);
  while (offset % piece !== 0) piece /= 2;
  return piece;
}

const isRefused = (rules: AccessRules, piece: number, size: number): boolean =>
  (piece < rules.min && rules.small === 'refuse') || (piece !== size && rules.odd === 'refuse');

/** A read as software made it; refused pieces read 0. */
export function readRegisters(registers: Registers, rules: AccessRules, offset: number, size: number): Halves {
  const piece = pieceSize(offset, size, rules.max);
  if (isRefused(rules, piece, size)) return ZERO;
  const made = Math.max(piece, rules.min);
  if (piece === size && made === size) return registers.read(offset, size);
  // piece ≤ 4: the pieces fill lo, then hi
  const halves = [0, 0];
  for (let at = 0; at < size; at += piece) {
    const part = registers.read(offset + at, made).lo & (piece === 4 ? -1 : (1 << (8 * piece)) - 1);
    halves[at >>> 2]! |= part << (8 * (at & 3));
  }
  return { lo: halves[0]! >>> 0, hi: halves[1]! >>> 0 };
}

/** A write as software made it; refused pieces are dropped. */
export function writeRegisters(
  registers: Registers,
  rules: AccessRules,
  offset: number,
  size: number,
  value: Halves,
): void {
  const piece = pieceSize(offset, size, rules.max);
  if (isRefused(rules, piece, size)) return;
  const made = Math.max(piece, rules.min);
  if (piece === size && made === size) {
    registers.write(offset, size, value.lo, value.hi);
    return;
  }
  for (let at = 0; at < size; at += piece) {
    const half = at < 4 ? value.lo : value.hi;
    const part = (half >>> (8 * (at & 3))) & (piece === 4 ? -1 : (1 << (8 * piece)) - 1);
    registers.write(offset + at, made, part >>> 0, 0);
  }
}
