/**
 * The interrupts of one device: compares what its eventfd has counted with what the host says was
 * raised, across execs (invariant 4).
 */
import type { DeviceInfo } from '../../../iommu/abi/control.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdRead } from '../../../platform/libc/eventfd.ts';
import { close } from '../../../platform/libc/fd.ts';
import { Violation } from '../invariants.ts';
import type { DeviceFile } from './device-file.ts';

interface Baseline {
  readonly sent: number;
  readonly raised: number;
  readonly dropped: number;
}

export interface LedgerState {
  readonly eventfd: number;
  readonly counted: number;
  readonly loopBacks: number;
  readonly from: Baseline;
  readonly route: 'eventfd' | 'none' | 'off';
  readonly mayDrop: boolean;
}

const baselineOf = (info: DeviceInfo): Baseline => ({
  sent: info.interruptsSent,
  raised: info.interruptsRaised,
  dropped: info.interruptsDropped,
});

export class InterruptLedger {
  readonly eventfd: number;
  readonly #device: DeviceFile;
  #from: Baseline;
  #counted = 0;
  #loopBacks = 0;
  #route: LedgerState['route'] = 'off';
  /** Whether the MSI was without a route at some time since the last settle(). */
  #mayDrop = false;

  /**
   * Starts with the `info` of a quiet device. With `state` it continues the ledger of an earlier
   * image.
   */
  constructor(device: DeviceFile, info: DeviceInfo | undefined, state?: LedgerState) {
    this.#device = device;
    this.eventfd = state?.eventfd ?? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    this.#from = state?.from ?? baselineOf(info!);
    this.#counted = state?.counted ?? 0;
    this.#loopBacks = state?.loopBacks ?? 0;
    this.#route = state?.route ?? 'off';
    this.#mayDrop = state?.mayDrop ?? false;
    if (!state) this.routeTo('eventfd');
  }

  save(): LedgerState {
    const [counted, loopBacks] = [this.#counted, this.#loopBacks];
    return { eventfd: this.eventfd, counted, loopBacks, from: this.#from, route: this.#route, mayDrop: this.#mayDrop };
  }

  get route(): LedgerState['route'] {
    return this.#route;
  }

  /**
   * Changes the route. The new route may be the present one: the kernel then swaps the triggers,
   * and no interrupt may be lost between them.
   */
  routeTo(route: LedgerState['route']): void {
    this.#mayDrop ||= route !== 'eventfd' || this.#route !== 'eventfd';
    if (route === 'off') {
      if (this.#route !== 'off') this.#device.disableMsi();
    } else {
      this.#device.routeMsi(route === 'eventfd' ? this.eventfd : -1);
    }
    this.#route = route;
  }

  loopBack(): void {
    if (this.#route !== 'eventfd') return;
    this.#device.loopBack();
    this.#loopBacks++;
  }

  /** Adds the eventfd's count to the ledger. */
  collect(): void {
    this.#counted += eventfdRead(this.eventfd);
  }

  /**
   * Checks that everything is accounted for. The device must be quiet, and `info` must have been
   * asked for after it became so. Returns the interrupts since the last time.
   */
  settle(info: DeviceInfo): number {
    this.collect();
    const now = baselineOf(info);
    const raised = now.raised - this.#from.raised;
    const sent = now.sent - this.#from.sent;
    const dropped = now.dropped - this.#from.dropped;
    if (this.#counted !== raised) {
      throw new Violation('4', `${this.#device.name}: ${raised} interrupts raised, ${this.#counted} counted`);
    }
    if (sent + this.#loopBacks !== raised + dropped) {
      const text = `${sent} interrupts sent, ${this.#loopBacks} looped back, ${raised} raised, ${dropped} not routed`;
      throw new Violation('4', `${this.#device.name}: ${text}`);
    }
    if (dropped !== 0 && !this.#mayDrop) {
      throw new Violation(
        '4',
        `${this.#device.name}: ${dropped} interrupts found no route, and there was one all the time`,
      );
    }
    const settled = this.#counted;
    this.#mayDrop = this.#route !== 'eventfd';
    this.#from = now;
    this.#counted = 0;
    this.#loopBacks = 0;
    return settled;
  }

  close(): void {
    close(this.eventfd);
  }
}
