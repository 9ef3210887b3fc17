/** Arithmetic and the flags that it sets (Intel SDM vol. 1, 3.4.3.1). Values are unsigned. */
import { maskOf, type Width } from './cpu.ts';

const CF = 1n << 0n;
const PF = 1n << 2n;
const AF = 1n << 4n;
const ZF = 1n << 6n;
const SF = 1n << 7n;
const OF = 1n << 11n;
const ALL = CF | PF | AF | ZF | SF | OF;

/** In the order of their opcodes. */
export const OPERATIONS = ['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp'] as const;
export type Operation = (typeof OPERATIONS)[number];

export interface Computed {
  readonly value: bigint;
  readonly flags: bigint;
}

const when = (condition: boolean, flag: bigint): bigint => (condition ? flag : 0n);

/** `a` op `b`. cmp gives the difference, which nobody keeps. */
export function compute(operation: Operation, a: bigint, b: bigint, width: Width, flags: bigint): Computed {
  const carry = operation === 'adc' || operation === 'sbb' ? flags & CF : 0n;
  const whole = wholeOf(operation, a, b, carry);
  const value = whole & maskOf(width);
  const isSum = operation === 'add' || operation === 'adc';
  const isLogic = operation === 'and' || operation === 'or' || operation === 'xor';
  const top = BigInt(8 * width - 1);
  const overflow = isSum ? (a ^ value) & (b ^ value) : (a ^ b) & (a ^ value);
  const arithmetic = isLogic
    ? 0n
    : when(whole !== value, CF) | when(((overflow >> top) & 1n) === 1n, OF) | ((a ^ b ^ value) & AF);
  const set = arithmetic | when(value === 0n, ZF) | when(value >> top === 1n, SF) | when(isEven(value), PF);
  return { value, flags: (flags & ~ALL) | set };
}

function wholeOf(operation: Operation, a: bigint, b: bigint, carry: bigint): bigint {
  switch (operation) {
    case 'add':
    case 'adc':
      return a + b + carry;
    case 'and':
      return a & b;
    case 'or':
      return a | b;
    case 'xor':
      return a ^ b;
    default:
      return a - b - carry;
  }
}

/** PF: an even number of ones in the lowest byte. */
export function isEven(value: bigint): boolean {
  let byte = Number(value & 0xffn);
  byte ^= byte >> 4;
  byte ^= byte >> 2;
  return ((byte ^ (byte >> 1)) & 1) === 0;
}

/** inc and dec: as by 1, and CF stays. */
export function step(operation: 'add' | 'sub', a: bigint, width: Width, flags: bigint): Computed {
  const { value, flags: set } = compute(operation, a, 1n, width, flags);
  return { value, flags: (set & ~CF) | (flags & CF) };
}
