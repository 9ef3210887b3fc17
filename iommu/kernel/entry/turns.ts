/**
 * The turns of the client processes on the kernel's one thread. Each process has a turn of 1 ms
 * before the others are looked at. Work that it asks for beyond that, on however many channels,
 * waits for the next round of the event loop, first come first served. A process with one call
 * never waits for more than a turn of each other process that has calls waiting, and a call that
 * cannot be cut.
 */
import { nextRound } from '../../../platform/next-round.ts';

/** The thread's time for one process in a round. */
const TURN_MS = 1;

export class Turns {
  /** Milliseconds that a process has used of its turn. */
  #used = new Map<number, number>();
  readonly #waiting = new Map<number, (() => void)[]>();
  #roundComes = false;

  /** Carries out `work` for process `pid`: at once, or in its next turn. It must not throw. */
  run(pid: number, work: () => void): void {
    const queue = this.#waiting.get(pid);
    if (queue) queue.push(work);
    else if (this.#hasTime(pid)) this.#timed(pid, work);
    else this.#waiting.set(pid, [work]);
    this.#expectRound(pid);
  }

  #hasTime(pid: number): boolean {
    return (this.#used.get(pid) ?? 0) < TURN_MS;
  }

  #timed(pid: number, work: () => void): void {
    const start = performance.now();
    work();
    this.#used.set(pid, (this.#used.get(pid) ?? 0) + performance.now() - start);
  }

  /**
   * The next round is needed once a process has no time left. The few microseconds of other
   * processes are then forgotten, too.
   */
  #expectRound(pid: number): void {
    if (this.#roundComes || (this.#hasTime(pid) && !this.#waiting.has(pid))) return;
    this.#roundComes = true;
    nextRound(() => this.#round()); // when the event loop has looked at every socket
  }

  #round(): void {
    this.#roundComes = false;
    this.#used = new Map();
    for (const [pid, queue] of [...this.#waiting]) {
      while (queue.length > 0 && this.#hasTime(pid)) this.#timed(pid, queue.shift()!);
      if (queue.length === 0) this.#waiting.delete(pid);
      this.#expectRound(pid);
    }
  }
}
