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
import { targetHart } from '../../machine/hart-local/interrupt-target.ts';
import type { InterruptRoutes } from '../../machine/shared/interrupt-routes.ts';
import { Linger } from './linger.ts';
import { Sleeper } from './sleeper.ts';

export interface PostingDevice {
  /** Undefined: the device's interrupts signal eventfds only. */
  readonly page: SharedPart | undefined;
  /** Its routes, by vector. */
  readonly routes: readonly number[];
  /** How many accesses the guest has made to its registers. */
  readonly accesses: number;
}

export interface PostedInterruptsOptions {
  readonly devices: readonly PostingDevice[];
  readonly routes: InterruptRoutes;
  readonly control: Int32Array;
  readonly imsic: SharedPart;
  readonly harts: number;
  /** As LingerParts. */
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
  readonly #imsics: readonly Imsic[];
  readonly #linger: Linger;
  readonly #sleeper: Sleeper | undefined;
  #state: typeof AWAY | typeof RUNS | typeof SLEEPS = AWAY;

  constructor({ devices, routes, control, imsic, harts, cpus, sleeps }: PostedInterruptsOptions) {
    this.#routes = routes;
    this.#control = control;
    this.#imsics = hartNumbers(harts).map((hart) => new Imsic(imsic, control, hart));
    this.#sources = devices.flatMap((device) => {
      const { page } = device;
      const deliver = (vector: number, count: number): void => this.#deliver(device.routes[vector], count);
      return page ? [{ page: new InterruptPageClient(page), deliver }] : [];
    });
    this.#linger = new Linger({ devices: devices.filter(({ page }) => page), cpus, take: () => this.#take() });
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
   * The hart waits, and the vCPU has nothing to do for `ms`: Linger.look. True: an interrupt has
   * come.
   */
  linger(ms: number, woken: () => boolean): boolean {
    return this.#state === RUNS && this.#linger.look(ms, woken);
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
    this.#imsics[hart]?.receive(target); // 0, which is ignored: dropped
    if (hart !== OWNER_HART && this.#imsics[hart]) wakeHart(this.#control, hart);
  }
}
