/** Numbers of the doorbell page's vectors: which MSI data means which vector of which device. */
import { enospc } from '../../../../platform/errno.ts';

export class VectorAllocator {
  readonly #used: boolean[];

  constructor(nrVectors: number) {
    this.#used = Array.from({ length: nrVectors }, () => false);
  }

  /**
   * `count` (a power of two) vectors from a multiple of `count`: a function tells them apart by the
   * low bits of the data.
   */
  allocate(count: number): number {
    const used = this.#used;
    for (let base = 0; base + count <= used.length; base += count) {
      if (used.slice(base, base + count).includes(true)) continue;
      used.fill(true, base, base + count);
      return base;
    }
    throw enospc(`no ${count} interrupt vectors left`);
  }

  free(base: number, count: number): void {
    this.#used.fill(false, base, base + count);
  }
}
