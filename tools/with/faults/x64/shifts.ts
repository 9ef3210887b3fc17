/**
 * Shifts and rotations of memory (Intel SDM vol. 2, RCL and SAL). Flags that Intel leaves undefined
 * are as for a count of 1, and AF stays.
 */
import { isEven } from './arithmetic.ts';
import { maskOf, RCX, type Width } from './cpu.ts';
import { widthOf } from './instruction.ts';
import { load, type Run, register, store, withImmediate, withOperand } from './operands.ts';

const CF = 1n << 0n;
const PF = 1n << 2n;
const ZF = 1n << 6n;
const SF = 1n << 7n;
const OF = 1n << 11n;
/** In the order of their extensions of the opcode; the second shl is an old name of the first. */
const OPERATIONS = ['rol', 'ror', 'rcl', 'rcr', 'shl', 'shr', 'shl', 'sar'] as const;
type Operation = (typeof OPERATIONS)[number];

interface Shifted {
  /** More bits than the operand's may be set. */
  readonly value: bigint;
  readonly carry: bigint;
  /** OF, where that is not about the value's two highest bits. */
  readonly overflow?: bigint;
}

/** Returns the instruction's length; undefined for another one. */
export function shift(run: Run): number | undefined {
  const { opcode } = run.instruction;
  const width = (opcode & 1) === 0 ? 1 : widthOf(run.instruction);
  const by = (reg: number, vaddr: bigint, count: bigint): true => {
    shiftMemory(run, OPERATIONS[reg & 7]!, { vaddr, width, count: count & (width === 8 ? 63n : 31n) });
    return true;
  };
  switch (opcode) {
    case 0xc0:
    case 0xc1:
      return withImmediate(run, 1, width, ({ reg, vaddr }, count) => by(reg, vaddr, count));
    case 0xd0:
    case 0xd1:
      return withOperand(run, ({ reg, vaddr }) => void by(reg, vaddr, 1n));
    case 0xd2:
    case 0xd3:
      return withOperand(run, ({ reg, vaddr }) => void by(reg, vaddr, register(run, RCX, 1)));
  }
  return undefined;
}

interface Place {
  readonly vaddr: bigint;
  readonly width: Width;
  readonly count: bigint;
}

/** A count of 0 changes neither the value nor the flags. */
function shiftMemory(run: Run, operation: Operation, { vaddr, width, count }: Place): void {
  const { cpu } = run;
  const bits = BigInt(8 * width);
  const before = load(run, vaddr, width);
  const { value: whole, carry, overflow } = shifted(operation, before, { bits, count, carry: cpu.flags & CF });
  const value = whole & maskOf(width);
  store(run, vaddr, width, value);
  if (count === 0n) return;
  const top = value >> (bits - 1n);
  const isRight = operation === 'ror' || operation === 'rcr';
  const isOver = overflow ?? top ^ (isRight ? (value >> (bits - 2n)) & 1n : carry);
  let flags = (cpu.flags & ~(CF | OF)) | carry | (isOver === 1n ? OF : 0n);
  if (operation === 'shl' || operation === 'shr' || operation === 'sar') {
    flags &= ~(SF | ZF | PF);
    flags |= (top === 1n ? SF : 0n) | (value === 0n ? ZF : 0n) | (isEven(value) ? PF : 0n);
  }
  cpu.flags = flags;
}

interface Amount {
  readonly bits: bigint;
  readonly count: bigint;
  readonly carry: bigint;
}

function shifted(operation: Operation, before: bigint, { bits, count, carry }: Amount): Shifted {
  switch (operation) {
    case 'rol': {
      const value = rotated(before, bits, count % bits);
      return { value, carry: value & 1n };
    }
    case 'ror': {
      const value = rotated(before, bits, bits - (count % bits));
      return { value, carry: (value >> (bits - 1n)) & 1n };
    }
    case 'rcl':
    case 'rcr': {
      // the carry is one bit more, above the others
      const by = count % (bits + 1n);
      const value = rotated((carry << bits) | before, bits + 1n, operation === 'rcl' ? by : bits + 1n - by);
      return { value, carry: (value >> bits) & 1n };
    }
    case 'shl': {
      const value = before << count;
      return { value, carry: (value >> bits) & 1n };
    }
    case 'shr':
      return { value: before >> count, carry: lastOut(before, count), overflow: before >> (bits - 1n) };
    case 'sar': {
      const signed = BigInt.asIntN(Number(bits), before);
      return { value: signed >> count, carry: lastOut(signed, count), overflow: 0n };
    }
  }
}

/** `value` has `bits` bits, which go left by `count`. */
function rotated(value: bigint, bits: bigint, count: bigint): bigint {
  const whole = value << count;
  return (whole | (whole >> bits)) & ((1n << bits) - 1n);
}

/** The last bit that a shift to the right pushes out. */
const lastOut = (value: bigint, count: bigint): bigint => (count === 0n ? 0n : (value >> (count - 1n)) & 1n);
