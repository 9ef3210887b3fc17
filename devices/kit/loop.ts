/**
 * The loop of a device worker. It serves register accesses, runs the device, goes idle, and sleeps
 * until the next deadline or the next ring of a bell: its mailbox's, or a register page's. The loop
 * owns its thread. It starts no thread and waits on nothing else.
 */
import { AWAKE, AWAY } from '../../iommu/abi/bell.ts';
import type { PeerServer } from '../../iommu/bus/peer-cycles.ts';
import type { RegisterPageServer } from '../../iommu/bus/register-pages.ts';
import { currentCpu } from '../../platform/libc/cpu.ts';
import { hasFutexWaitAny } from '../../platform/libc/futex.ts';
import { type MailboxHandler, MailboxServer } from '../../platform/mailbox.ts';
import type { Spinners } from '../../platform/spinners.ts';
import { Attention } from './attention.ts';
import { type DeviceControl, type DeviceState, HALTED, RUNNING, STOPPED } from './control.ts';
import { type Clock, NEVER } from './device.ts';
import type { Dma } from './dma.ts';
import type { Endpoint } from './endpoint.ts';

/** Longest sleep: bounds the harm of a lost wake-up. */
const MAX_SLEEP_MS = 1000;

export interface LoopParts {
  readonly pages: RegisterPageServer;
  readonly spinners: Spinners;
  readonly endpoint: Endpoint;
  readonly mailbox: SharedArrayBuffer;
  /** Accesses by other functions; they ring the mailbox's bell, too. */
  readonly peers: PeerServer;
  readonly control: DeviceControl;
  /** The port itself and not the gated one, because going idle is not a transaction. */
  readonly dma: Dma;
  readonly clock: Clock;
  /** Takes in changes of the memory map, so that detached memory is released. */
  readonly pollMemory: () => void;
  /** Tells the board of a change of state. */
  readonly announce: (state: DeviceState) => void;
}

export class DeviceLoop {
  readonly #parts: LoopParts;
  readonly #server: MailboxServer;
  readonly #attention: Attention;
  /** Accesses by the mailbox: they come after the stores that were posted before them. */
  readonly #ordered: MailboxHandler;
  #seen: number;
  #canWait: boolean | undefined;

  constructor(parts: LoopParts) {
    this.#parts = parts;
    const { pages, endpoint, spinners } = parts;
    this.#server = new MailboxServer(parts.mailbox);
    this.#seen = this.#server.bell() - 1;
    this.#ordered = {
      read: (region, offset, size) => {
        pages.makeStores(endpoint);
        return endpoint.read(region, offset, size);
      },
      write: (region, offset, size, lo, hi) => {
        pages.makeStores(endpoint);
        endpoint.write(region, offset, size, lo, hi);
      },
    };
    this.#attention = new Attention({
      wanted: () => pages.any(),
      spinners,
      serve: () => pages.serve(endpoint),
      rung: () => this.#server.bell() !== this.#seen,
    });
  }

  /**
   * Runs until the board says stop. Whatever happens, the DMA port is left idle, so that no fence
   * waits for this worker.
   */
  run(): void {
    const { control, dma, clock, pages } = this.#parts;
    try {
      for (;;) {
        const deadline = this.turn();
        if (control.stopping()) return;
        const sleepMs = deadline === NEVER ? NEVER : (deadline - clock()) / 1e6; // the clock makes garbage
        if (sleepMs > 0 && this.#attention.look(sleepMs)) continue;
        if (sleepMs > 0) this.#sleep(Math.min(sleepMs, MAX_SLEEP_MS));
      }
    } finally {
      this.#attention.end();
      pages.setAttentive(AWAY);
      dma.idle();
      this.#enter(STOPPED);
    }
  }

  /**
   * Woken by a register access, by news of a socket, by a change of the memory map, and by stop,
   * halt and resume: all of them ring the mailbox's bell, or a client that of its register page.
   */
  #sleep(ms: number): void {
    const { pages, endpoint } = this.#parts;
    const bells = this.#wakeable() ? pages.fallAsleep() : [];
    if (bells.length === 0) pages.setAttentive(AWAY);
    if (pages.serve(endpoint)) return; // the last look; pairs with the loads after a post in RegisterPageClient
    if (bells.length === 0) this.#server.wait(this.#seen, ms);
    else this.#server.waitWith(this.#seen, bells, ms);
    if (bells.length > 0 && pages.rangFrom(currentCpu(), bells)) this.#attention.wokenFromOurCpu();
  }

  /** Whether clients can wake this thread. Asked for when there is a page. */
  #wakeable(): boolean {
    if (!this.#parts.pages.any()) return false;
    this.#canWait ??= hasFutexWaitAny();
    return this.#canWait;
  }

  #enter(state: DeviceState): void {
    if (this.#parts.control.setState(state)) this.#parts.announce(state);
  }

  /**
   * Serves register accesses in the middle of a turn, for work that takes long. So the device's
   * registers may be read and written while its run() is under way. The caller may sleep on the
   * bell afterwards, where no page wakes it: accesses then come by the mailbox.
   */
  serve(): void {
    this.#attention.end();
    this.#parts.pages.setAttentive(AWAY);
    this.#serve();
  }

  #serve(): void {
    const { endpoint, peers, pages } = this.#parts;
    if (pages.serve(endpoint)) this.#attention.accessed();
    if (this.#server.serve(this.#ordered)) this.#attention.accessed();
    peers.serve(endpoint);
  }

  /** Makes one turn without sleeping. Returns the time of the next deadline. */
  turn(): number {
    const { endpoint, control, dma, pages, pollMemory } = this.#parts;
    pages.setAttentive(AWAKE);
    const rung = this.#server.bell(); // before looking at what it may stand for
    if (rung !== this.#seen) {
      this.#seen = rung;
      pollMemory();
      this.#serve();
    } else if (pages.serve(endpoint)) {
      this.#attention.accessed();
    }
    if (control.halting()) {
      dma.idle();
      this.#enter(HALTED); // after idle: whoever sees it knows that nothing is under way
      return NEVER;
    }
    this.#enter(RUNNING);
    const deadline = endpoint.run();
    dma.idle(); // publishes the port's counters, too
    return deadline;
  }
}
