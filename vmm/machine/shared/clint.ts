/**
 * The CLINT of one hart (docs/machine.md, "CLINT"): msip at 0, mtimecmp at 0x4000, mtime at 0xbff8,
 * 10 MHz. mtime follows the monotonic clock while the machine runs and stands still while it is
 * stopped, as QEMU's virtual clock does.
 */
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import { monotonicNs } from '../../../platform/clock.ts';
import { defineSection, type StateOf } from '../../../platform/section.ts';
import { big, flag } from '../../../platform/shape.ts';
import type { MmioDevice } from './bus.ts';
import { TIMEBASE_HZ } from './memory-map.ts';

const MSIP_END = 0x4000;
const MTIMECMP = 0x4000;
const MTIME = 0xbff8;
const MIP_MSIP = 1 << 3;
const MIP_MTIP = 1 << 7;
const NS_PER_TICK = 1e9 / TIMEBASE_HZ;

export const CLINT_SECTION = defineSection('clint', 1, { mtime: big, mtimecmp: big, msip: flag });

export type ClintState = StateOf<typeof CLINT_SECTION>;

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);

export class Clint implements MmioDevice {
  readonly maxAccess = 8;
  readonly #lines: Int32Array;
  readonly #line: number;
  readonly #now: () => number;
  #mtimecmp = 0n;
  #msip = false;
  #timerUp = false;
  /** mtime = #base + ticks since #since; stands still while #since is undefined. */
  #base = 0n;
  #since: number | undefined;

  /** `lines[line]` is the hart's mip. */
  constructor(lines: Int32Array, line: number, now: () => number = monotonicNs) {
    this.#lines = lines;
    this.#line = line;
    this.#now = now;
  }

  mtime(): bigint {
    if (this.#since === undefined) return this.#base;
    return u64(this.#base + BigInt(Math.floor((this.#now() - this.#since) / NS_PER_TICK)));
  }

  /** The machine runs: time goes on from where it stood. */
  start(): void {
    this.#since ??= this.#now();
  }

  stop(): void {
    this.#base = this.mtime();
    this.#since = undefined;
  }

  reset(): void {
    this.#mtimecmp = 0n;
    this.#msip = false;
    this.#setMtime(0n);
    this.#drive(MIP_MSIP, false);
    this.update();
  }

  /** Drives MTIP by the time it is now (priv-isa §3.2.1). */
  update(): void {
    this.#timerUp = this.mtime() >= this.#mtimecmp;
    this.#drive(MIP_MTIP, this.#timerUp);
  }

  /** Milliseconds until `update` would raise MTIP; Infinity if it is up already. */
  msToTimer(): number {
    if (this.#timerUp) return Number.POSITIVE_INFINITY;
    return Math.max(0, (Number(this.#mtimecmp - this.mtime()) * NS_PER_TICK) / 1e6);
  }

  save(): ClintState {
    return { version: 1, mtime: this.mtime(), mtimecmp: this.#mtimecmp, msip: this.#msip };
  }

  restore(state: ClintState): void {
    this.#setMtime(state.mtime);
    this.#mtimecmp = state.mtimecmp;
    this.#msip = state.msip;
    this.#drive(MIP_MSIP, this.#msip);
    this.update();
  }

  load(offset: number, size: AccessSize): bigint | undefined {
    if (size < 4) return undefined;
    if (offset < MSIP_END) return offset === 0 && this.#msip ? 1n : 0n;
    return half(this.#register(offset), offset, size);
  }

  store(offset: number, size: AccessSize, value: bigint): boolean {
    if (size < 4) return false;
    if (offset < MSIP_END) {
      if (offset === 0) this.#setMsip((value & 1n) !== 0n);
      return true;
    }
    const register = offset & ~7;
    const merged = merge(this.#register(offset), offset, size, value);
    if (register === MTIMECMP) this.#mtimecmp = merged;
    else if (register === MTIME) this.#setMtime(merged);
    this.update();
    return true;
  }

  /** The 64-bit register that holds `offset`; those of absent harts read 0. */
  #register(offset: number): bigint {
    const register = offset & ~7;
    if (register === MTIME) return this.mtime();
    return register === MTIMECMP ? this.#mtimecmp : 0n;
  }

  #setMsip(on: boolean): void {
    this.#msip = on;
    this.#drive(MIP_MSIP, on);
  }

  #setMtime(value: bigint): void {
    this.#base = value;
    if (this.#since !== undefined) this.#since = this.#now();
  }

  #drive(bit: number, on: boolean): void {
    if (on) Atomics.or(this.#lines, this.#line, bit);
    else Atomics.and(this.#lines, this.#line, ~bit);
  }
}

const half = (value: bigint, offset: number, size: number): bigint =>
  size === 8 ? value : BigInt.asUintN(32, value >> BigInt(8 * (offset & 4)));

function merge(old: bigint, offset: number, size: number, value: bigint): bigint {
  if (size === 8) return value;
  const shift = BigInt(8 * (offset & 4));
  return u64((old & ~(0xffff_ffffn << shift)) | (value << shift));
}
