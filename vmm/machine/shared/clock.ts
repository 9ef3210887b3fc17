/**
 * The machine's clock, mtime, with 10 MHz. It follows the monotonic clock while the machine runs
 * and stands still while the machine is stopped, as QEMU's virtual clock does. It is two shared
 * words, so any thread can read it.
 */
import { monotonicNs } from '../../../platform/clock.ts';
import { bigUint64s, float64s, type SharedPart } from '../../../platform/shared.ts';
import { MachineBlock } from '../control/control-block.ts';
import { TIMEBASE_HZ } from './memory-map.ts';

export const NS_PER_TICK = 1e9 / TIMEBASE_HZ;
const { mtime, since } = MachineBlock.word64;

export const msOf = (ticks: bigint): number => (Number(ticks) * NS_PER_TICK) / 1e6;

/** mtime, whatever drives it. */
export interface MachineClock {
  /** mtime, unsigned. */
  now(): bigint;
  set(value: bigint): void;
  /** Starts the clock: time goes on from where it stood. To be called only while no hart runs. */
  start(): void;
  /** Stops the clock. To be called only while no hart runs. */
  stop(): void;
}

export class Clock implements MachineClock {
  readonly #longs: BigUint64Array;
  readonly #doubles: Float64Array;
  readonly #ns: () => number;

  constructor(control: SharedPart, ns: () => number = monotonicNs) {
    this.#longs = bigUint64s(control);
    this.#doubles = float64s(control);
    this.#ns = ns;
  }

  /**
   * mtime, unsigned. The loads are plain ones: V8 makes one machine access of each, and no order
   * with other words is needed.
   */
  now(): bigint {
    const started = this.#doubles[since]!;
    if (started === 0) return this.#longs[mtime]!;
    return BigInt.asUintN(64, this.#longs[mtime]! + BigInt(Math.floor((this.#ns() - started) / NS_PER_TICK)));
  }

  set(value: bigint): void {
    const started = this.#doubles[since]!;
    const ticks = started === 0 ? 0n : BigInt(Math.floor((this.#ns() - started) / NS_PER_TICK));
    this.#longs[mtime] = BigInt.asUintN(64, value - ticks);
  }

  start(): void {
    if (this.#doubles[since] === 0) this.#doubles[since] = this.#ns();
  }

  stop(): void {
    const value = this.now();
    this.#doubles[since] = 0;
    this.set(value);
  }
}
