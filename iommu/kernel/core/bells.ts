/**
 * The bells of doors (door.ts). Clients and devices ring them while the kernel's thread does
 * not look at their words. One io_uring waits for all of them, and for the event loop's epoll
 * instance, so the thread can sleep there instead of in the event loop: a ring is a word of shared
 * memory and a futex, and no socket.
 */
import { SysError } from '../../../platform/errno.ts';
import { RequestRing } from '../../../platform/request-ring.ts';
import type { Door, RingingDoor } from './door.ts';

const NONE = 0;
const EINVAL = 22;

export class Bells {
  readonly #ring: RequestRing;
  readonly #loop: number;
  /** The request that waits for the event loop. */
  #loopRequest = NONE;
  /** The request that waits for each door's bell. */
  readonly #requests = new Map<RingingDoor, number>();
  readonly #doors = new Map<number, RingingDoor>();

  /**
   * `loop`: the epoll instance of this thread's event loop. Undefined where Linux gives no io_uring
   * that waits for words (before 6.7; seccomp, kernel.io_uring_disabled).
   */
  static create(loop: number): Bells | undefined {
    try {
      const ring = RequestRing.create();
      if (waitsForWords(ring)) return new Bells(ring, loop);
      ring.close();
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
    }
    return undefined;
  }

  private constructor(ring: RequestRing, loop: number) {
    this.#ring = ring;
    this.#loop = loop;
  }

  add(door: RingingDoor): void {
    this.#requests.set(door, NONE);
    this.arm(door);
  }

  /** The door's word is about to go. */
  remove(door: RingingDoor): void {
    const request = this.#requests.get(door) ?? NONE;
    this.#requests.delete(door);
    if (request === NONE) return;
    this.#doors.delete(request);
    this.#ring.cancel(request);
  }

  get empty(): boolean {
    return this.#requests.size === 0;
  }

  has(door: Door): door is RingingDoor {
    return this.#requests.has(door as RingingDoor);
  }

  /** Waits for the door's bell, and serves what was posted before it could be rung. */
  arm(door: RingingDoor): void {
    const bell = door.letRing();
    if (this.#requests.get(door) === NONE) {
      const request = this.#ring.waitForWord(bell);
      this.#requests.set(door, request);
      this.#doors.set(request, door);
    }
    door.serve(); // the last look
  }

  /** Whether a bell has rung, or the event loop has something to do. */
  // HOT: two loads
  any(): boolean {
    return this.#ring.any();
  }

  /** The doors whose bell has rung. They must be armed again. */
  take(): readonly RingingDoor[] {
    const rung: RingingDoor[] = [];
    this.#ring.take((request) => {
      if (request === this.#loopRequest) this.#loopRequest = NONE;
      const door = this.#doors.get(request);
      if (!door) return;
      this.#doors.delete(request);
      this.#requests.set(door, NONE);
      rung.push(door);
    });
    return rung;
  }

  /** Sleeps until a bell rings, or the event loop has something to do, or timeoutMs passed. */
  wait(timeoutMs: number): void {
    if (this.#loopRequest === NONE) this.#loopRequest = this.#ring.pollIn(this.#loop);
    this.#ring.wait(timeoutMs);
  }

  close(): void {
    this.#ring.close();
  }
}

/** Asks for a word that has changed already. */
function waitsForWords(ring: RequestRing): boolean {
  const words = new Int32Array(new SharedArrayBuffer(4));
  ring.waitForWord({ words, index: 0, seen: 1, shared: false });
  let waits = false;
  ring.take((_, result) => {
    waits = result !== -EINVAL;
  });
  return waits;
}
