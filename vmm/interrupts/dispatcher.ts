/**
 * The interrupt worker: waits on all eventfds, makes the identities pending that the routes name, wakes the vCPU.
 *
 * It sleeps in poll(2), woken by a device's interrupt or by main through `kick`, at the latest after a second; or, parked, on
 * the `dispatch` word. What pends in an eventfd while nobody reads waits there: that is how interrupts survive an exec.
 */
import { eventfdRead, POLLIN, POLLRDHUP, poll } from '../../platform/libc.ts';
import { ControlBlock, REQUEST_EXIT, REQUEST_STOP, wakeVcpu } from '../machine/control-block.ts';
import { Imsic } from '../machine/imsic.ts';
import { InterruptRoutes } from '../machine/interrupt-routes.ts';
import type { InterruptInput, InterruptMessage } from './protocol.ts';

const LONGEST_WAIT_MS = 1000;

export class InterruptDispatcher {
  readonly #control: Int32Array;
  readonly #imsic: Imsic;
  readonly #routes: InterruptRoutes;
  readonly #kick: number;
  readonly #hostFile: number;
  readonly #tell: (message: InterruptMessage) => void;

  constructor({ shared, kick, hostFile }: InterruptInput, tell: (message: InterruptMessage) => void) {
    this.#control = new Int32Array(shared.control);
    this.#imsic = new Imsic(shared.imsic, this.#control, ControlBlock.word.lines);
    this.#routes = new InterruptRoutes(shared.routes);
    this.#kick = kick;
    this.#hostFile = hostFile;
    this.#tell = tell;
  }

  /** Returns when main requests EXIT, or when the host is gone. */
  run(): void {
    const { dispatch } = ControlBlock.word;
    for (;;) {
      const request = Atomics.load(this.#control, dispatch); // pairs with the store in interrupts/thread.ts
      if (request === REQUEST_EXIT) return;
      if (request === REQUEST_STOP) {
        this.#tell({ kind: 'parked' });
        Atomics.wait(this.#control, dispatch, REQUEST_STOP);
      } else if (!this.#waitAndDeliver()) {
        this.#tell({ kind: 'host-gone' });
        return;
      }
    }
  }

  /** False when the host is gone. */
  #waitAndDeliver(): boolean {
    const fds = [
      { fd: this.#kick, events: POLLIN },
      { fd: this.#hostFile, events: POLLRDHUP },
    ];
    for (let route = 0; route < this.#routes.count; route++) {
      fds.push({ fd: this.#routes.eventfd(route), events: POLLIN });
    }
    const [kicked, hungUp, ...ready] = poll(fds, LONGEST_WAIT_MS) ?? [];
    if (kicked) eventfdRead(this.#kick);
    let delivered = false;
    ready.forEach((revents, route) => {
      const count = revents ? eventfdRead(this.#routes.eventfd(route)) : 0;
      if (count === 0) return;
      this.#routes.countDelivered(route, count);
      this.#imsic.setPending(this.#routes.identity(route)); // identity 0, a dropped interrupt, is ignored there
      delivered = true;
    });
    if (delivered) wakeVcpu(this.#control);
    return !hungUp;
  }
}
