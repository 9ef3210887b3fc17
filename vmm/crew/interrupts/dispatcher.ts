/**
 * The dispatcher takes interrupts from eventfds, makes the identities pending that the routes name,
 * and wakes the harts. An eventfd that nobody reads keeps its count: that is how interrupts survive
 * an exec. It also wakes the owner of the shared devices when one of their sockets has news.
 *
 * The interrupt thread sleeps in poll(2). A device's interrupt wakes it, or main through `kick`, or
 * the time-out of a second. A parked worker sleeps on the `dispatch` word instead. Around an exec,
 * while there is no worker, main delivers without sleeping.
 */
import { epollWait } from '../../../platform/libc/epoll.ts';
import { eventfdRead } from '../../../platform/libc/eventfd.ts';
import { POLLIN, POLLRDHUP, poll } from '../../../platform/libc/poll.ts';
import { int32s } from '../../../platform/shared.ts';
import {
  crewOnDuty,
  hartCount,
  MachineBlock,
  numberOf,
  OWNER_HART,
  obeyed,
  REQUEST_EXIT,
  REQUEST_STOP,
  whatOf,
} from '../../machine/control/control-block.ts';
import { wakeHart } from '../../machine/control/lease.ts';
import { hartNumbers } from '../../machine/hart-local/hart-number.ts';
import { Imsic } from '../../machine/hart-local/imsic.ts';
import { targetHart } from '../../machine/hart-local/interrupt-target.ts';
import { InterruptRoutes } from '../../machine/shared/interrupt-routes.ts';
import type { InterruptInput, InterruptMessage } from './protocol.ts';

const LONGEST_WAIT_MS = 1000;
const NO_FILE = -1; // poll(2) passes it over

export class InterruptDispatcher {
  readonly #control: Int32Array;
  /** By hart. */
  readonly #imsics: readonly Imsic[];
  readonly #routes: InterruptRoutes;
  readonly #kick: number;
  readonly #hostFile: number;
  readonly #news: number;
  readonly #notices: readonly number[];
  /** Main has been told of them. */
  readonly #told = new Set<number>();
  readonly #tell: (message: InterruptMessage) => void;
  readonly #crew: number;
  /** The last request that the dispatcher obeyed. */
  #request = -1;

  constructor(
    { shared, kick, hostFile = NO_FILE, news = NO_FILE, notices = [] }: InterruptInput,
    tell: (message: InterruptMessage) => void,
  ) {
    this.#control = int32s(shared.control);
    this.#imsics = hartNumbers(hartCount(shared.control)).map((hart) => new Imsic(shared.imsic, this.#control, hart));
    this.#routes = new InterruptRoutes(shared.routes);
    this.#kick = kick;
    this.#hostFile = hostFile;
    this.#news = news;
    this.#notices = notices;
    this.#tell = tell;
    this.#crew = crewOnDuty(this.#control);
  }

  /**
   * The worker's life. It ends when main requests EXIT or relieves the worker, or when the host is
   * gone.
   */
  run(): void {
    for (let rest = this.turn(LONGEST_WAIT_MS); rest !== 'ended'; rest = this.turn(LONGEST_WAIT_MS)) {
      if (rest === 'parked') Atomics.wait(this.#control, MachineBlock.word.dispatch, this.#request, LONGEST_WAIT_MS);
    }
  }

  /**
   * Does what the `dispatch` word says. When it delivers, it waits for an interrupt no longer than
   * timeoutMs.
   */
  turn(timeoutMs: number): 'delivering' | 'parked' | 'ended' {
    const request = obeyed(this.#control, MachineBlock.word.dispatch, this.#crew);
    const news = request !== this.#request;
    this.#request = request;
    if (news) this.#told.clear();
    if (whatOf(request) === REQUEST_EXIT) return 'ended';
    if (whatOf(request) === REQUEST_STOP) {
      if (news) this.#tellParked(numberOf(request));
      return 'parked';
    }
    if (this.#waitAndDeliver(timeoutMs)) return 'delivering';
    this.#tell({ kind: 'host-gone' });
    return 'ended';
  }

  #tellParked(request: number): void {
    const { parked } = MachineBlock.word;
    // after all that was taken pends; pairs with the load in sleepUntil (InterruptThread.answered)
    Atomics.store(this.#control, parked, request);
    Atomics.notify(this.#control, parked);
    this.#tell({ kind: 'parked', request });
  }

  /** Returns false when the host is gone. */
  #waitAndDeliver(timeoutMs: number): boolean {
    const fds = [
      { fd: this.#kick, events: POLLIN },
      { fd: this.#hostFile, events: POLLRDHUP },
      { fd: this.#news, events: POLLIN },
    ];
    this.#notices.forEach((fd, notice) => {
      fds.push({ fd: this.#told.has(notice) ? NO_FILE : fd, events: POLLIN });
    });
    for (let route = 0; route < this.#routes.count; route++) {
      fds.push({ fd: this.#routes.eventfd(route), events: POLLIN });
    }
    const [kicked, hungUp, news, ...others] = poll(fds, timeoutMs) ?? [];
    const ready = others.splice(this.#notices.length);
    if (kicked) eventfdRead(this.#kick);
    if (news) {
      epollWait(this.#news, 0); // takes the edges: the next news are news again
      wakeHart(this.#control, OWNER_HART); // pairs with the load in vcpu/vcpu.ts, before the owner looks
    }
    others.forEach((revents, notice) => {
      if (!revents) return;
      this.#told.add(notice);
      this.#tell({ kind: 'notice', notice });
    });
    const reached = new Set<number>();
    ready.forEach((revents, route) => {
      if (revents) this.#deliver(route, reached);
    });
    for (const hart of reached) if (this.#imsics[hart]) wakeHart(this.#control, hart);
    return !hungUp;
  }

  /**
   * The count that is read lies nowhere else until the identity is pending. So the route is in hand
   * from before the one until after the other, for a successor to see.
   */
  #deliver(route: number, reached: Set<number>): void {
    this.#routes.pickUp(route);
    const hart = takeInterrupts(this.#routes, route, this.#imsics);
    if (hart !== undefined) reached.add(hart);
    this.#routes.layDown();
  }
}

/** Makes pending what a route's eventfd has counted. Returns the hart that it reaches. */
export function takeInterrupts(routes: InterruptRoutes, route: number, imsics: readonly Imsic[]): number | undefined {
  const count = eventfdRead(routes.eventfd(route));
  if (count === 0) return undefined;
  routes.countDelivered(route, count);
  const target = routes.identity(route);
  // A dropped interrupt is identity 0, which is ignored there.
  imsics[targetHart(target)]?.receive(target);
  return targetHart(target);
}
