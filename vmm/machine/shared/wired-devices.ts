/**
 * What a machine with wired interrupts has: the PLIC (`aia=none`, as in QEMU) or the APLIC, which
 * makes messages of them (`aia=aplic-imsic`), and the devices whose interrupts go there. A machine
 * with an IMSIC only has none of them.
 */

import { einval } from '../../../platform/errno.ts';
import { LEVELS } from '../hart-local/interrupt-target.ts';
import { Aplic, type AplicState, type SendMessage } from './aplic.ts';
import type { MmioDevice } from './bus.ts';
import { APLIC, type MapEntry, PLIC, RTC, RTC_IRQ } from './memory-map.ts';
import { Plic, type PlicOptions, type PlicState } from './plic.ts';
import { Rtc, type RtcState } from './rtc.ts';

/** Which interrupt controllers a machine has: `-machine virt,aia=`. */
export const AIA_KINDS = ['none', 'aplic-imsic'] as const;
export type Aia = (typeof AIA_KINDS)[number];

/** Their sections. */
export interface WiredState {
  readonly plic?: PlicState;
  readonly aplic?: AplicState;
  readonly rtc: RtcState;
}

export interface WiredOptions extends Omit<PlicOptions, 'completed'> {
  /** There is an APLIC instead of the PLIC, and its messages go here. */
  readonly send?: SendMessage | undefined;
  /** What the RTC follows, ns since 1970; absent: the host's clock. */
  readonly timeNs?: (() => bigint) | undefined;
}

export class WiredDevices {
  readonly #plic: Plic | undefined;
  readonly #aplic: Aplic | undefined;
  readonly #controller: Plic | Aplic;
  readonly #rtc: Rtc;
  /** By source: the users of a wire that several share, who hold it up. */
  readonly #holders = new Map<number, Set<object>>();

  /** By source: who wants to hear of completions. */
  readonly #hearers = new Map<number, (() => void)[]>();

  constructor({ send, timeNs, ...lines }: WiredOptions) {
    const completed = (source: number): void => this.#completed(source);
    if (send) this.#controller = this.#aplic = new Aplic({ send, completed });
    else this.#controller = this.#plic = new Plic({ ...lines, completed });
    this.#rtc = new Rtc(this.line(RTC_IRQ), timeNs);
  }

  /** The wire of a source is up, or down. */
  drive(source: number, up: boolean): void {
    this.#controller.setLevel(source, up);
  }

  /** The wire of a source. */
  line(source: number): (up: boolean) => void {
    return (up) => this.drive(source, up);
  }

  /** One end of a wire that several devices share: it is up while one of them holds it up. */
  sharedLine(source: number): (up: boolean) => void {
    const holders = this.#holders.get(source) ?? new Set();
    this.#holders.set(source, holders);
    const me = {};
    return (up) => {
      if (up) holders.add(me);
      else holders.delete(me);
      this.#controller.setLevel(source, holders.size > 0);
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
    if (this.#plic) bus.map(PLIC, this.#plic);
    if (this.#aplic) {
      for (const level of LEVELS) bus.map(APLIC[level], this.#aplic.registers(level));
    }
    bus.map(RTC, this.#rtc);
  }

  /** Lets time-driven devices look at the time. */
  update(): void {
    this.#rtc.update();
  }

  /** Nanoseconds until `update` would raise a line; undefined if nothing is due. */
  dueNs(): number | undefined {
    return this.#rtc.dueNs();
  }

  reset(): void {
    this.#rtc.reset();
    this.#controller.reset(); // after the devices: their lines are down
  }

  save(): WiredState {
    return {
      ...(this.#plic ? { plic: this.#plic.save() } : {}),
      ...(this.#aplic ? { aplic: this.#aplic.save() } : {}),
      rtc: this.#rtc.save(),
    };
  }

  /** EINVAL: sections are missing. */
  restore({ plic, aplic, rtc }: Partial<WiredState>): void {
    if (!rtc || !(this.#plic ? plic : aplic))
      throw einval('sections of what is wired: missing, and this machine has it');
    if (plic) this.#plic?.restore(plic);
    this.#rtc.restore(rtc);
  }

  /** To be called after `restore` of all devices that have a wire. */
  restoreMessages({ aplic }: Partial<WiredState>): void {
    if (aplic) this.#aplic?.restore(aplic);
  }
}
