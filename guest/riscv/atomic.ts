import { physical } from './access.ts';
import type { Core } from './core.ts';
import { CAUSE_LOAD_ACCESS, CAUSE_MISALIGNED_LOAD, CAUSE_MISALIGNED_STORE, CAUSE_STORE_ACCESS } from './isa.ts';
import type { Memory } from './memory.ts';
import { LOAD, STORE } from './pmp.ts';

/**
 * The A extension (unpriv-isa §14). Device threads and other processes write RAM at the same time,
 * so every operation is one sequentially consistent Atomics operation, whatever aq and rl say.
 * Regions that are not RAM support no atomics (PMAs AMONone, RsrvNone; priv-isa §3.6.3): access
 * fault.
 *
 * DEVIATION: SC compares the value that LR saw, as QEMU does. If another thread stores the same
 * value in between (ABA), the SC does not notice.
 */

const LR = 0x02;
const SC = 0x03;

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);

/** The cause of an exception whose mtval is the address in rs1, or DONE. */
export const DONE = 0;
/** Not an instruction of the A extension. */
export const ILLEGAL_ATOMIC = -1;

/** LR, SC and the AMOs of 32 and 64 bits; writes rd. */
export function executeAtomic(core: Core, insn: number): number {
  const funct5 = insn >>> 27;
  const funct3 = (insn >>> 12) & 7;
  const rs2 = (insn >>> 20) & 31;
  if (!isAtomic(funct5, rs2) || (funct3 !== 2 && funct3 !== 3)) return ILLEGAL_ATOMIC;
  const size = funct3 === 2 ? 4 : 8;

  // Alignment before access (priv-isa §3.7.1 table 15 leaves the order to us; this is QEMU's).
  const rs1 = (insn >>> 15) & 31;
  const vaddr = core.halves[2 * rs1 + 1]! * 0x1_0000_0000 + (core.halves[2 * rs1]! >>> 0); // inexact only where there is no RAM
  if (core.halves[2 * rs1]! & (size - 1)) return funct5 === LR ? CAUSE_MISALIGNED_LOAD : CAUSE_MISALIGNED_STORE;
  const gpa = physical(core, vaddr, funct5 === LR ? LOAD : STORE);
  if (gpa === undefined) return core.fault.cause;
  if (!core.memory.isRam(gpa, size)) return funct5 === LR ? CAUSE_LOAD_ACCESS : CAUSE_STORE_ACCESS;

  const { memory } = core;
  const operand = core.x[rs2]!;
  const index = (gpa - memory.base) / size;
  let result: bigint;
  if (funct5 === LR) {
    result = size === 4 ? BigInt(Atomics.load(memory.i32, index)) : Atomics.load(memory.i64, index);
    core.reservation = { gpa, size, value: result };
  } else if (funct5 === SC) {
    result = storeConditional(core, gpa, size, operand) ? 0n : 1n;
    core.reservation = undefined;
  } else if (memory.journal) {
    result = journaledAmo(memory, gpa - memory.base, size, { funct5, operand });
  } else if (size === 4) {
    result = BigInt(amoWord(memory.i32, index, funct5, Number(BigInt.asIntN(32, operand))));
  } else {
    result = amoDouble(memory.i64, index, funct5, operand);
  }
  core.x[(insn >>> 7) & 31] = result;
  return DONE;
}

const AMO_FUNCT5: readonly number[] = [0x00, 0x01, 0x04, 0x08, 0x0c, 0x10, 0x14, 0x18, 0x1c];
const isAtomic = (funct5: number, rs2: number): boolean =>
  funct5 === SC || (funct5 === LR && rs2 === 0) || AMO_FUNCT5.includes(funct5);

function storeConditional(core: Core, gpa: number, size: 4 | 8, value: bigint): boolean {
  const { memory, reservation } = core;
  if (reservation?.gpa !== gpa || reservation.size !== size) return false;
  const seen = reservation.value;
  return memory.compareExchange(gpa - memory.base, size, seen, BigInt.asIntN(8 * size, value)) === seen;
}

/** Any AMO, signed: the old value. The journal must know the new value before it is stored. */
function journaledAmo(
  memory: Memory,
  at: number,
  size: 4 | 8,
  { funct5, operand }: { funct5: number; operand: bigint },
): bigint {
  for (;;) {
    const old = size === 4 ? BigInt(Atomics.load(memory.i32, at / 4)) : Atomics.load(memory.i64, at / 8);
    const value = amoResult(funct5, old, BigInt.asIntN(8 * size, operand), 8 * size);
    if (memory.compareExchange(at, size, old, value) === old) return old;
  }
}

/** What an AMO stores; all are signed. */
function amoResult(funct5: number, old: bigint, operand: bigint, bits: number): bigint {
  const unsigned = (value: bigint): bigint => BigInt.asUintN(bits, value);
  switch (funct5) {
    case 0x00:
      return BigInt.asIntN(bits, old + operand);
    case 0x01:
      return operand;
    case 0x04:
      return old ^ operand;
    case 0x08:
      return old | operand;
    case 0x0c:
      return old & operand;
    case 0x10: // AMOMIN
      return old < operand ? old : operand;
    case 0x14: // AMOMAX
      return old > operand ? old : operand;
    case 0x18: // AMOMINU
      return unsigned(old) < unsigned(operand) ? old : operand;
    default: // AMOMAXU
      return unsigned(old) > unsigned(operand) ? old : operand;
  }
}

/** AMO*.W: the old value. */
function amoWord(i32: Int32Array, index: number, funct5: number, operand: number): number {
  switch (funct5) {
    case 0x00:
      return Atomics.add(i32, index, operand);
    case 0x01:
      return Atomics.exchange(i32, index, operand);
    case 0x04:
      return Atomics.xor(i32, index, operand);
    case 0x08:
      return Atomics.or(i32, index, operand);
    case 0x0c:
      return Atomics.and(i32, index, operand);
  }
  for (;;) {
    const old = Atomics.load(i32, index);
    const takesOld =
      funct5 === 0x10
        ? old < operand // AMOMIN.W
        : funct5 === 0x14
          ? old > operand // AMOMAX.W
          : funct5 === 0x18
            ? old >>> 0 < operand >>> 0 // AMOMINU.W
            : old >>> 0 > operand >>> 0; // AMOMAXU.W
    if (Atomics.compareExchange(i32, index, old, takesOld ? old : operand) === old) return old;
  }
}

/** AMO*.D: the old value. */
function amoDouble(i64: BigInt64Array, index: number, funct5: number, operand: bigint): bigint {
  switch (funct5) {
    case 0x00:
      return Atomics.add(i64, index, operand);
    case 0x01:
      return Atomics.exchange(i64, index, operand);
    case 0x04:
      return Atomics.xor(i64, index, operand);
    case 0x08:
      return Atomics.or(i64, index, operand);
    case 0x0c:
      return Atomics.and(i64, index, operand);
  }
  for (;;) {
    const old = Atomics.load(i64, index);
    const takesOld =
      funct5 === 0x10
        ? old < operand // AMOMIN.D
        : funct5 === 0x14
          ? old > operand // AMOMAX.D
          : funct5 === 0x18
            ? u64(old) < u64(operand) // AMOMINU.D
            : u64(old) > u64(operand); // AMOMAXU.D
    if (Atomics.compareExchange(i64, index, old, takesOld ? old : operand) === old) return old;
  }
}
