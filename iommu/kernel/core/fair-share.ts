/**
 * A supply that all clients draw on and that no client may exhaust. A client can have no more than
 * what is left after it. A single client gets half of the supply, and the next client finds half of
 * the rest.
 */
import { enomem } from '../../../platform/errno.ts';

export class FairShare {
  readonly #what: string;
  #left: number;
  readonly #taken = new Map<number, number>();

  constructor(what: string, capacity: number) {
    this.#what = what;
    this.#left = capacity;
  }

  /** Takes some for process `pid`. ENOMEM when that is more than its share. */
  take(pid: number, amount: number): void {
    const taken = (this.#taken.get(pid) ?? 0) + amount;
    if (taken > this.#left - amount) throw enomem(`process ${pid} has its share of the host's ${this.#what}`);
    this.#left -= amount;
    this.#taken.set(pid, taken);
  }

  giveBack(pid: number, amount: number): void {
    this.#left += amount;
    const taken = this.#taken.get(pid)! - amount;
    if (taken > 0) this.#taken.set(pid, taken);
    else this.#taken.delete(pid);
  }
}
