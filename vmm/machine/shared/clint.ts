/**
 * The registers of the CLINT (docs/machine.md, "CLINT"): msip of hart n at 4n, its mtimecmp at
 * 0x4000 + 8n, mtime at 0xbff8. Their values belong to the harts (hart-local/timer.ts) and to the
 * machine's clock.
 */
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import { defineSection, type StateOf } from '../../../platform/section.ts';
import { big, flag } from '../../../platform/shape.ts';
import type { Timer } from '../hart-local/timer.ts';
import type { MmioDevice } from './bus.ts';
import type { MachineClock } from './clock.ts';

const MTIMECMP = 0x4000;
const MTIME = 0xbff8;

/**
 * The section that each hart has. All agree on mtime, because they are saved while the clock
 * stands.
 */
export const CLINT_SECTION = defineSection('clint', 1, { mtime: big, mtimecmp: big, msip: flag });

export type ClintState = StateOf<typeof CLINT_SECTION>;

export interface ClintOptions {
  readonly clock: MachineClock;
  /** By hart. */
  readonly timers: readonly Timer[];
  /** Makes a hart look at its timer again. */
  wake(hart: number): void;
}

export class Clint implements MmioDevice {
  readonly maxAccess = 8;
  readonly #clock: MachineClock;
  readonly #timers: readonly Timer[];
  readonly #wake: (hart: number) => void;

  constructor({ clock, timers, wake }: ClintOptions) {
    this.#clock = clock;
    this.#timers = timers;
    this.#wake = wake;
  }

  reset(): void {
    this.#clock.set(0n);
    for (const timer of this.#timers) {
      timer.mtimecmp = 0n;
      timer.msip = false;
      timer.update();
    }
  }

  /** The part of the CLINT that belongs to this hart, and the time. */
  save(hart: number): ClintState {
    const { mtimecmp, msip } = this.#timers[hart]!;
    return { version: 1, mtime: this.#clock.now(), mtimecmp, msip };
  }

  restore(hart: number, { mtime, mtimecmp, msip }: ClintState): void {
    const timer = this.#timers[hart]!;
    this.#clock.set(mtime);
    timer.mtimecmp = mtimecmp;
    timer.msip = msip;
    timer.update();
  }

  load(offset: number, size: AccessSize): bigint | undefined {
    if (size < 4) return undefined;
    if (offset < MTIMECMP) return this.#timers[offset >> 2]?.msip ? 1n : 0n;
    return half(this.#register(offset & ~7), offset, size);
  }

  store(offset: number, size: AccessSize, value: bigint, by: number): boolean {
    if (size < 4) return false;
    if (offset < MTIMECMP) {
      const hart = offset >> 2;
      const timer = this.#timers[hart];
      if (!timer) return true;
      timer.msip = (value & 1n) !== 0n;
      if (hart !== by) this.#wake(hart);
      return true;
    }
    const register = offset & ~7;
    const merged = merge(this.#register(register), offset, size, value);
    if (register === MTIME) {
      this.#clock.set(merged);
      for (const hart of this.#timers.keys()) this.#changed(hart, by);
      return true;
    }
    const hart = (register - MTIMECMP) / 8;
    const timer = this.#timers[hart];
    if (!timer) return true;
    timer.mtimecmp = merged;
    this.#changed(hart, by);
    return true;
  }

  #changed(hart: number, by: number): void {
    this.#timers[hart]!.update();
    if (hart !== by) this.#wake(hart);
  }

  /** A 64-bit register; the registers of absent harts read 0. */
  #register(register: number): bigint {
    return register === MTIME ? this.#clock.now() : (this.#timers[(register - MTIMECMP) / 8]?.mtimecmp ?? 0n);
  }
}

const half = (value: bigint, offset: number, size: number): bigint =>
  size === 8 ? value : BigInt.asUintN(32, value >> BigInt(8 * (offset & 4)));

function merge(old: bigint, offset: number, size: number, value: bigint): bigint {
  if (size === 8) return value;
  const shift = BigInt(8 * (offset & 4));
  return BigInt.asUintN(64, (old & ~(0xffff_ffffn << shift)) | (value << shift));
}
