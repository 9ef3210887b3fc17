/**
 * What a machine with wired interrupts has (`aia=none`, as in QEMU): the PLIC, and the devices
 * whose interrupts go there. A machine with message-signalled interrupts has none of them.
 */

import type { MmioDevice } from './bus.ts';
import { type MapEntry, PLIC, RTC, RTC_IRQ } from './memory-map.ts';
import { Plic, type PlicOptions, type PlicState } from './plic.ts';
import { Rtc, type RtcState } from './rtc.ts';

/** Which interrupt controllers a machine has: `-machine virt,aia=`. */
export const AIA_KINDS = ['none', 'aplic-imsic'] as const;
export type Aia = (typeof AIA_KINDS)[number];

/** Their sections. */
export interface WiredState {
  readonly plic: PlicState;
  readonly rtc: RtcState;
}

export class WiredDevices {
  readonly plic: Plic;
  readonly #rtc: Rtc;
  /** By source: the users of a wire that several share, who hold it up. */
  readonly #holders = new Map<number, Set<object>>();

  /** By source: who wants to hear of completions. */
  readonly #hearers = new Map<number, (() => void)[]>();

  constructor(options: Omit<PlicOptions, 'completed'>) {
    this.plic = new Plic({ ...options, completed: (source) => this.#completed(source) });
    this.#rtc = new Rtc(this.line(RTC_IRQ));
  }

  /** The wire of a source. */
  line(source: number): (up: boolean) => void {
    return (up) => this.plic.setLevel(source, up);
  }

  /** One end of a wire that several devices share: it is up while one of them holds it up. */
  sharedLine(source: number): (up: boolean) => void {
    const holders = this.#holders.get(source) ?? new Set();
    this.#holders.set(source, holders);
    const me = {};
    return (up) => {
      if (up) holders.add(me);
      else holders.delete(me);
      this.plic.setLevel(source, holders.size > 0);
    };
  }

  /** `hear` is called when an interrupt of that source is completed, before its level counts. */
  onCompletion(source: number, hear: () => void): void {
    this.#hearers.set(source, [...(this.#hearers.get(source) ?? []), hear]);
  }

  #completed(source: number): void {
    for (const hear of this.#hearers.get(source) ?? []) hear();
  }

  mapInto(bus: { map(at: MapEntry, device: MmioDevice): void }): void {
    bus.map(PLIC, this.plic);
    bus.map(RTC, this.#rtc);
  }

  /** Lets time-driven devices look at the time. */
  update(): void {
    this.#rtc.update();
  }

  /** Milliseconds until `update` would raise a line; undefined if nothing is due. */
  dueMs(): number | undefined {
    return this.#rtc.dueMs();
  }

  reset(): void {
    this.#rtc.reset();
    this.plic.reset(); // after the devices: their lines are down
  }

  save(): WiredState {
    return { plic: this.plic.save(), rtc: this.#rtc.save() };
  }

  restore({ plic, rtc }: WiredState): void {
    this.plic.restore(plic);
    this.#rtc.restore(rtc);
  }
}
