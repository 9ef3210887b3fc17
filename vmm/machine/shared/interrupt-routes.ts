/**
 * The routes of interrupts, a table in shared memory: which eventfd makes which IMSIC identity
 * pending. Main makes the routes, one per vector of each device, before the machine runs. The vCPU,
 * which owns the PCI functions, sets where they lead. The interrupt thread waits on their eventfds.
 * No eventfd is ever closed while the worker waits on it, and each keeps its count over an exec.
 */
import { enospc } from '../../../platform/errno.ts';
import { fd } from '../../../platform/fd-shape.ts';
import { defineSection, type StateOf } from '../../../platform/section.ts';
import { integer, list, number, object } from '../../../platform/shape.ts';
import { atomic32, bytes, defineShared, float64s, int32s, type SharedPart, word64 } from '../../../platform/shared.ts';

const MAX_ROUTES = 1024;

const Header = defineShared('interrupt routes', {
  count: atomic32, // main, before any other thread looks
  pad0: bytes(60),
  /** Interrupt thread: 1 + the route whose interrupts it takes from the eventfd now; 0: none. */
  inHand: atomic32,
  pad1: bytes(60),
});

const Route = defineShared('interrupt route', {
  eventfd: atomic32, // main
  slot: atomic32, // main: the PCI function it belongs to
  identity: atomic32, // vCPU: whose interrupt file and what in it, an interruptTarget; 0 = dropped
  pad0: atomic32,
  delivered: word64, // interrupt thread, float64: eventfd counts taken
  posted: word64, // vCPU, float64: interrupts taken from the device's interrupt page
  pad1: bytes(32),
});

export const INTERRUPT_ROUTES_BYTES = Header.size + MAX_ROUTES * Route.size;

export const ROUTES_SECTION = defineSection('routes', 1, {
  routes: list(object({ eventfd: fd, slot: integer, identity: integer, delivered: number })),
});

export type RoutesState = StateOf<typeof ROUTES_SECTION>;
export type RouteState = RoutesState['routes'][number];

export class InterruptRoutes {
  readonly #words: Int32Array;
  readonly #counts: Float64Array;

  constructor(shared: SharedPart) {
    this.#words = int32s(shared);
    this.#counts = float64s(shared);
  }

  get count(): number {
    return this.#words[Header.word.count]!;
  }

  /** Main: adds a route; returns its number. ENOSPC. */
  add({ eventfd, slot, identity, delivered }: RouteState): number {
    const route = this.count;
    if (route === MAX_ROUTES) throw enospc(`more than ${MAX_ROUTES} interrupt vectors`);
    this.#words[word(route, Route.word.eventfd)] = eventfd;
    this.#words[word(route, Route.word.slot)] = slot;
    this.#words[word(route, Route.word.identity)] = identity;
    this.#counts[long(route, Route.word64.delivered)] = delivered;
    this.#counts[long(route, Route.word64.posted)] = 0;
    this.#words[Header.word.count] = route + 1;
    return route;
  }

  /** Main: takes the routes of an earlier image in place of its own. ENOSPC. */
  restore(routes: readonly RouteState[]): void {
    this.#words[Header.word.count] = 0;
    for (const route of routes) this.add(route);
  }

  eventfd(route: number): number {
    return this.#words[word(route, Route.word.eventfd)]!;
  }

  /**
   * vCPU: makes the route's interrupts set `identity`, an interruptTarget, pending from now on; 0
   * drops them.
   */
  setIdentity(route: number, identity: number): void {
    // pairs with the load in identity
    Atomics.store(this.#words, word(route, Route.word.identity), identity);
  }

  identity(route: number): number {
    return Atomics.load(this.#words, word(route, Route.word.identity));
  }

  /**
   * Interrupt worker: takes the route in hand, before it reads the eventfd. Until `layDown` the
   * interrupts are perhaps nowhere else.
   */
  pickUp(route: number): void {
    Atomics.store(this.#words, Header.word.inHand, 1 + route);
  }

  /** Interrupt worker: the interrupts are pending, or there were none. */
  layDown(): void {
    Atomics.store(this.#words, Header.word.inHand, 0);
  }

  /** The route that is in hand. */
  get inHand(): number | undefined {
    const inHand = Atomics.load(this.#words, Header.word.inHand);
    return inHand === 0 ? undefined : inHand - 1;
  }

  /** Interrupt worker: `count` more interrupts were taken. */
  countDelivered(route: number, count: number): void {
    this.#counts[long(route, Route.word64.delivered)]! += count;
  }

  /** vCPU: `count` more interrupts were posted. */
  countPosted(route: number, count: number): void {
    this.#counts[long(route, Route.word64.posted)]! += count;
  }

  /** Saves the routes. They are complete and steady only while the interrupt thread is parked. */
  save(): RouteState[] {
    return Array.from({ length: this.count }, (_, route) => ({
      eventfd: this.eventfd(route),
      slot: this.#words[word(route, Route.word.slot)]!,
      identity: this.identity(route),
      delivered: this.#counts[long(route, Route.word64.delivered)]! + this.#counts[long(route, Route.word64.posted)]!,
    }));
  }
}

const word = (route: number, field: number): number => (Header.size + route * Route.size) / 4 + field;
const long = (route: number, field: number): number => (Header.size + route * Route.size) / 8 + field;
