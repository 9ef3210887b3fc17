/**
 * A supply that all clients draw on and none may exhaust: what a client has can be no more than
 * what is left. One alone gets half of it, and whoever comes next finds a half of the rest.
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
