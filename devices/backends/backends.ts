/**
 * The backends of one kind (netdev, chardev, …) that the user has named: each is for one device.
 */
import { einval } from '../../platform/errno.ts';
import type { Properties } from './properties.ts';

export class Backends<T extends { readonly id: string }> {
  readonly all: readonly T[];
  readonly #option: string;
  readonly #free: Map<string, T>;

  /** `option`: its name, without dashes. EINVAL: an id is given twice. */
  constructor(option: string, all: readonly T[]) {
    this.#option = option;
    this.all = all;
    this.#free = new Map(all.map((each) => [each.id, each]));
    if (this.#free.size < all.length) throw einval(`-${option}: an id is given twice`);
  }

  take(id: string): T | undefined {
    const found = this.#free.get(id);
    this.#free.delete(id);
    return found;
  }

  /** Takes the one that a device's properties name. */
  takeFor(values: Properties): T {
    return this.claim(values.need(this.#option, 'ID'), (reason) => values.error(reason));
  }

  /** As take; `error` makes the error of the device that asks for one that is not there. */
  claim(id: string, error: (reason: string) => Error): T {
    const option = this.#option;
    const found = this.take(id);
    if (found) return found;
    const there = this.all.some((each) => each.id === id);
    throw error(there ? `the ${option} has a device already` : `there is no -${option} with id=${id}`);
  }

  /** All must have been taken; `device`: one that could. EINVAL. */
  end(device: string): void {
    const option = this.#option;
    for (const id of this.#free.keys()) {
      throw einval(`-${option}: no device uses '${id}'; give -device ${device},${option}=${id}`);
    }
  }
}
