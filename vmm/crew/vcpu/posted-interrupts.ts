/**
 * Interrupts that devices post in pages of shared memory (iommu/abi/interrupt-page.ts) while the
 * vCPU runs or is in WFI. It takes them itself whenever its hart looks at the interrupt lines; from
 * WFI the device wakes it. Before it stops it goes to rest: from then on each interrupt signals its
 * eventfd, and the interrupt thread delivers it. So it does before WFI where it cannot be woken by
 * another process: on an older Linux, and where main runs the guest.
 *
 * An interrupt that was taken and is not pending yet would be lost with the process. So nothing is
 * posted while states are published (crew/publisher.ts).
 */
import { AWAY, InterruptPageClient, RUNS, SLEEPS } from '../../../iommu/abi/interrupt-page.ts';
import type { SharedPart } from '../../../platform/shared.ts';
import { hartWords, OWNER_HART } from '../../machine/control/control-block.ts';
import { wakeHart } from '../../machine/control/lease.ts';
import { hartNumbers } from '../../machine/hart-local/hart-number.ts';
import { Imsic } from '../../machine/hart-local/imsic.ts';
import { type InterruptRoutes, targetHart, targetIdentity } from '../../machine/shared/interrupt-routes.ts';
import { Sleeper } from './sleeper.ts';

export interface PostingDevice {
  /** Undefined: the device's interrupts signal eventfds only. */
  readonly page: SharedPart | undefined;
  /** Its routes, by vector. */
  readonly routes: readonly number[];
  /** How many accesses the guest has made to its registers. */
  readonly accesses: number;
}

/**
 * After an access to a device the vCPU looks so long for its interrupt before it sleeps. To wake a
 * thread takes longer than most devices.
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
  /** Whether the thread sleeps here, by wait(). */
  readonly sleeps: boolean;
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
  readonly #devices: readonly PostingDevice[];
  readonly #cpus: number;
  /** Accesses of the guest when the vCPU last looked, and whether it then saw an interrupt. */
  #accesses = 0;
  #caught = false;
  /** Looks in vain: 0, 1, 3, 7, … and how many are still to be skipped. */
  #vain = 0;
  #skip = 0;

  readonly #sleeper: Sleeper | undefined;
  #state: typeof AWAY | typeof RUNS | typeof SLEEPS = AWAY;

  constructor({ devices, routes, control, imsic, harts, cpus, sleeps }: PostedInterruptsOptions) {
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
    if (sleeps)
      this.#sleeper = new Sleeper(
        control,
        devices.flatMap(({ page }) => page ?? []),
      );
  }

  /** The vCPU runs: interrupts may be posted from here on. */
  begin(): void {
    if (this.#state === RUNS) return;
    this.#state = RUNS;
    for (const { page } of this.#sources) page.begin();
  }

  /**
   * The hart waits, and the vCPU has nothing to do for `ms`. If the guest has asked a device for
   * something, looks for its interrupt for a while, until `woken`. True: one has come.
   */
  linger(ms: number, woken: () => boolean): boolean {
    if (this.#state !== RUNS || this.#cpus < 2 || this.#sources.length === 0) return false;
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

  /** The vCPU may stop after this. True if an interrupt has come before. */
  rest(): boolean {
    if (this.#state === AWAY) return false;
    this.#state = AWAY;
    for (const { page } of this.#sources) page.end();
    return this.#take();
  }

  /** The vCPU may wait after this, for the guest in WFI. True if an interrupt has come before. */
  sleep(): boolean {
    if (this.#state === AWAY || !this.#sleeper?.usable()) return this.rest();
    this.#state = SLEEPS;
    for (const { page } of this.#sources) page.sleep();
    return this.#take();
  }

  /**
   * Waits, after sleep(), until an interrupt comes or the `wake` word of the owner's hart is not
   * `seen` any more, at most `ms`.
   */
  wait(seen: number, ms: number): void {
    if (this.#state === SLEEPS) this.#sleeper!.sleep(seen, ms);
    else Atomics.wait(this.#control, hartWords(OWNER_HART).wake, seen, ms); // wakeHart notifies
  }

  /** The hart looks at its lines: makes pending what is posted. */
  // HOT: a few loads for each device where nothing is posted
  poll(): void {
    if (this.#state === RUNS) this.#take();
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
