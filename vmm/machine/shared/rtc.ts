/**
 * The Goldfish real-time clock of the `virt` machine (docs/machine.md, "RTC"): nanoseconds since
 * 1970, and one alarm. It follows the host's clock also while the machine is stopped; with -icount
 * it follows guest time, which begins in 1970.
 */
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import { realtimeNs } from '../../../platform/clock.ts';
import { defineSection, type StateOf } from '../../../platform/section.ts';
import { big, flag } from '../../../platform/shape.ts';
import type { MmioDevice } from './bus.ts';

const TIME_LOW = 0x00;
const TIME_HIGH = 0x04;
const ALARM_LOW = 0x08;
const ALARM_HIGH = 0x0c;
const IRQ_ENABLED = 0x10;
const CLEAR_ALARM = 0x14;
const ALARM_STATUS = 0x18;
const CLEAR_INTERRUPT = 0x1c;

export const RTC_SECTION = defineSection('rtc', 1, {
  /** The guest's time less that of the source, ns. */
  offset: big,
  /** What TIME_HIGH reads: the upper half of the time when TIME_LOW was read. */
  latched: big,
  alarm: big,
  armed: flag,
  enabled: flag,
  pending: flag,
});

export type RtcState = StateOf<typeof RTC_SECTION>;

const AFTER_RESET: RtcState = RTC_SECTION.of({
  offset: 0n,
  latched: 0n,
  alarm: 0n,
  armed: false,
  enabled: false,
  pending: false,
});

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);
const low = (value: bigint): bigint => BigInt.asUintN(32, value);

type Writable<T> = { -readonly [K in keyof T]: T[K] };

export class Rtc implements MmioDevice {
  readonly maxAccess = 4;
  readonly #line: (up: boolean) => void;
  readonly #sourceNs: () => bigint;
  #is: Writable<RtcState> = { ...AFTER_RESET };

  /** `sourceNs` is the time that it follows, since 1970: the host's by default. */
  constructor(line: (up: boolean) => void, sourceNs: () => bigint = realtimeNs) {
    this.#line = line;
    this.#sourceNs = sourceNs;
  }

  reset(): void {
    this.restore(AFTER_RESET);
  }

  save(): RtcState {
    return { ...this.#is };
  }

  restore(state: RtcState): void {
    this.#is = { ...state };
    this.update();
  }

  /** Lets an alarm go off that is due, and drives the line. */
  update(): void {
    const is = this.#is;
    if (is.armed && is.alarm <= this.#now()) {
      is.armed = false;
      is.pending = true;
    }
    this.#line(is.pending && is.enabled);
  }

  /** Nanoseconds until `update` would raise the line; undefined if it would not. */
  dueNs(): number | undefined {
    const { armed, enabled, alarm } = this.#is;
    return armed && enabled ? Math.max(0, Number(alarm - this.#now())) : undefined;
  }

  load(offset: number, size: AccessSize): bigint | undefined {
    if (size !== 4) return undefined;
    const is = this.#is;
    switch (offset) {
      case TIME_LOW: {
        const now = this.#now();
        is.latched = now >> 32n;
        return low(now);
      }
      case TIME_HIGH:
        return is.latched;
      case ALARM_LOW:
        return low(is.alarm);
      case ALARM_HIGH:
        return is.alarm >> 32n;
      case IRQ_ENABLED:
        return is.enabled ? 1n : 0n;
      case ALARM_STATUS:
        this.update();
        return is.armed ? 1n : 0n;
      default:
        return 0n;
    }
  }

  store(offset: number, size: AccessSize, value: bigint): boolean {
    if (size !== 4) return false;
    const is = this.#is;
    switch (offset) {
      case TIME_LOW:
      case TIME_HIGH: {
        const now = this.#now();
        is.offset = BigInt.asIntN(64, is.offset + half(now, offset - TIME_LOW, value) - now);
        break;
      }
      case ALARM_LOW: // the low half is written last, and arms
        is.alarm = half(is.alarm, 0, value);
        is.armed = true;
        break;
      case ALARM_HIGH:
        is.alarm = half(is.alarm, 4, value);
        break;
      case IRQ_ENABLED:
        is.enabled = (value & 1n) === 1n;
        break;
      case CLEAR_ALARM:
        is.armed = false;
        break;
      case CLEAR_INTERRUPT:
        is.pending = false;
        break;
    }
    this.update();
    return true;
  }

  #now(): bigint {
    return u64(this.#sourceNs() + this.#is.offset);
  }
}

/** `value` with the half at byte 0 or 4 replaced. */
const half = (value: bigint, at: number, by: bigint): bigint =>
  at === 0 ? (value & ~0xffff_ffffn) | by : low(value) | (by << 32n);
