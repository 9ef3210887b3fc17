/**
 * Interrupts that devices post in pages of shared memory (iommu/abi/interrupt-page.ts) while the
 * vCPU runs. It takes them itself whenever its hart looks at the interrupt lines. Before it sleeps
 * or stops it goes to rest: from then on each interrupt signals its eventfd, and the interrupt
 * thread delivers it.
 *
 * An interrupt that was taken and is not pending yet would be lost with the process. So nothing is
 * posted while states are published (crew/publisher.ts).
 */
import { InterruptPageClient } from '../../../iommu/abi/interrupt-page.ts';
import type { SharedPart } from '../../../platform/shared.ts';
import { OWNER_HART } from '../../machine/control/control-block.ts';
import { wakeHart } from '../../machine/control/lease.ts';
import { hartNumbers } from '../../machine/hart-local/hart-number.ts';
import { Imsic } from '../../machine/hart-local/imsic.ts';
import { type InterruptRoutes, targetHart, targetIdentity } from '../../machine/shared/interrupt-routes.ts';

export interface PostingDevice {
  /** Undefined: the device's interrupts signal eventfds only. */
  readonly page: SharedPart | undefined;
  /** Its routes, by vector. */
  readonly routes: readonly number[];
  /** How many accesses the guest has made to its registers. */
  readonly accesses: number;
}

/**
 * After an access to a device the vCPU looks so long for its interrupt before it sleeps. It takes
 * two threads to wake it then.
 */
const PATIENCE_MS = 0.1;
/** After looks in vain, so many sleeps begin without one. */
const MOST_SKIPPED = 15;
/** Looks between two looks at the clock. */
const LOOKS = 16;

export interface PostedInterruptsOptions {
  readonly devices: readonly PostingDevice[];
  readonly routes: InterruptRoutes;
  readonly control: Int32Array;
  readonly imsic: SharedPart;
  readonly harts: number;
  /** CPUs of this machine: with one, a device makes nothing while the vCPU looks. */
  readonly cpus: number;
}

interface Source {
  readonly page: InterruptPageClient;
  readonly deliver: (vector: number, count: number) => void;
}

export class PostedInterrupts {
  readonly #sources: readonly Source[];
  readonly #routes: InterruptRoutes;
  readonly #control: Int32Array;
  /** By hart. */
  readonly #files: readonly Imsic[];
  #awake = false;
  readonly #devices: readonly PostingDevice[];
  readonly #cpus: number;
  /** Accesses of the guest when the vCPU last looked, and whether it then saw an interrupt. */
  #accesses = 0;
  #caught = false;
  /** Looks in vain: 0, 1, 3, 7, … and how many are still to be skipped. */
  #vain = 0;
  #skip = 0;

  constructor({ devices, routes, control, imsic, harts, cpus }: PostedInterruptsOptions) {
    this.#devices = devices.filter(({ page }) => page);
    this.#cpus = cpus;
    this.#routes = routes;
    this.#control = control;
    this.#files = hartNumbers(harts).map((hart) => new Imsic(imsic, control, hart));
    this.#sources = devices.flatMap((device) => {
      const { page } = device;
      const deliver = (vector: number, count: number): void => this.#deliver(device.routes[vector], count);
      return page ? [{ page: new InterruptPageClient(page), deliver }] : [];
    });
  }

  /** The vCPU runs: interrupts may be posted from here on. */
  begin(): void {
    if (this.#awake) return;
    this.#awake = true;
    for (const { page } of this.#sources) page.begin();
  }

  /**
   * The hart waits, and the vCPU has nothing to do for `ms`. If the guest has asked a device for
   * something, looks for its interrupt for a while, until `woken`. True: one has come.
   */
  linger(ms: number, woken: () => boolean): boolean {
    if (!this.#awake || this.#cpus < 2 || this.#sources.length === 0) return false;
    let accesses = 0;
    for (const device of this.#devices) accesses += device.accesses;
    const busy = accesses !== this.#accesses || this.#caught;
    this.#accesses = accesses;
    this.#caught = false;
    if (!busy || --this.#skip >= 0) return false;
    this.#skip = 0;
    const patience = Math.min(ms, PATIENCE_MS);
    this.#caught = this.#lookFor(patience, woken);
    if (this.#caught) this.#vain = 0;
    else if (patience === PATIENCE_MS) {
      this.#vain = Math.min(2 * this.#vain + 1, MOST_SKIPPED);
      this.#skip = this.#vain;
    }
    return this.#caught;
  }

  #lookFor(ms: number, woken: () => boolean): boolean {
    const end = performance.now() + ms;
    do {
      for (let look = 0; look < LOOKS; look++) if (this.#take()) return true;
    } while (!woken() && performance.now() < end);
    return false;
  }

  /** The vCPU may sleep or stop after this. True if an interrupt has come before. */
  rest(): boolean {
    if (!this.#awake) return false;
    this.#awake = false;
    for (const { page } of this.#sources) page.end();
    return this.#take();
  }

  /** The hart looks at its lines: makes pending what is posted. */
  // HOT: one load for each device where nothing is posted
  poll(): void {
    if (this.#awake) this.#take();
  }

  /** True if there was something. */
  #take(): boolean {
    let taken = false;
    for (let i = 0; i < this.#sources.length; i++) {
      const { page, deliver } = this.#sources[i]!;
      if (page.take(deliver)) taken = true;
    }
    return taken;
  }

  /** As the interrupt thread does with the count of an eventfd. */
  #deliver(route: number | undefined, count: number): void {
    if (route === undefined) return;
    this.#routes.countPosted(route, count);
    const target = this.#routes.identity(route);
    const hart = targetHart(target);
    this.#files[hart]?.setPending(targetIdentity(target)); // 0, which is ignored: dropped
    if (hart !== OWNER_HART && this.#files[hart]) wakeHart(this.#control, hart);
  }
}
