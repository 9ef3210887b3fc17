/**
 * What a machine has whose time is counted by instructions (`-icount`, docs/machine.md): its clock,
 * and whose turn it is. Both survive, so a run goes on after an update as it would have without.
 */
import { defineSection, type StateOf } from '../../../platform/section.ts';
import { big, integer } from '../../../platform/shape.ts';
import type { CountedTime } from '../hart-local/hart-local.ts';
import { InstructionClock } from './instruction-clock.ts';

export const ICOUNT_SECTION = defineSection('icount', 1, {
  /** Guest time since the first power-on. */
  ns: big,
  /** The hart whose turn it is, and the instructions that are left of the turn. */
  hart: integer,
  left: integer,
  /** Bytes of console input that wait, of which the guest knows. */
  heard: integer,
});

export type IcountState = StateOf<typeof ICOUNT_SECTION>;

/** `-icount shift=,sleep=` */
export interface IcountPlan {
  /** An instruction takes 2^shift ns. */
  readonly shift: number;
  /** Whether a wait of the guest takes real time; else time jumps to the next timer. */
  readonly sleep: boolean;
}

/** Instructions of all harts between two looks at the world outside. */
const ROUND = 65_536;
/** What is further away never comes: a guest that wants no timer sets it to the end of time. */
const NEVER_NS = 2 ** 63;

/** The devices of the machine, as guest time concerns them. */
export interface TimedDevices {
  /** Nanoseconds until they want `update`; undefined: they do not. */
  dueNs(): number | undefined;
  update(): void;
  /** Whether the guest must wait, because nobody takes what it says. */
  blocked(): boolean;
}

export class Icount implements CountedTime {
  readonly clock: InstructionClock;
  readonly sleep: boolean;
  /** Instructions of a turn. */
  readonly turn: number;
  /** Whose turn it is, and the instructions that are left of it. */
  hart = 0;
  left: number;
  readonly #devices: TimedDevices;

  constructor({ shift, sleep }: IcountPlan, harts: number, devices: TimedDevices) {
    this.#devices = devices;
    this.clock = new InstructionClock(shift);
    this.sleep = sleep;
    this.turn = Math.floor(ROUND / harts);
    this.left = this.turn;
  }

  /** Whether a round of turns begins. The outside world is seen only here. */
  get roundBegins(): boolean {
    return this.hart === 0 && this.left === this.turn;
  }

  /** The next turn is that of `hart`. */
  goTo(hart: number): void {
    this.hart = hart;
    this.left = this.turn;
  }

  update(): void {
    const dueNs = this.#devices.dueNs();
    if (dueNs !== undefined && dueNs <= 0) this.#devices.update();
  }

  instructionsUntil(next: bigint | undefined): number {
    if (this.#devices.blocked()) return 0;
    const ns = this.nsUntil(next);
    return ns === undefined ? Number.MAX_SAFE_INTEGER : this.clock.instructionsIn(ns);
  }

  /** Nanoseconds until mtime is `next`, or a device is due; undefined: nothing comes by itself. */
  nsUntil(next: bigint | undefined): number | undefined {
    const dueNs = this.#devices.dueNs() ?? NEVER_NS;
    const ns = next === undefined ? dueNs : Math.min(dueNs, this.clock.nsUntil(next));
    return ns < NEVER_NS ? ns : undefined;
  }

  /** `heard`: bytes of console input that the guest knows of. */
  save(heard: number): IcountState {
    return ICOUNT_SECTION.of({ ns: this.clock.ns, hart: this.hart, left: this.left, heard });
  }

  restore({ ns, hart, left }: IcountState): void {
    this.clock.restore(ns);
    this.hart = hart;
    this.left = left;
  }
}
