/**
 * The vector numbers of the doorbell page. A number is the MSI data that means one vector of one
 * device.
 */
import { enospc } from '../../../../platform/errno.ts';

export class VectorAllocator {
  readonly #used: boolean[];

  constructor(nrVectors: number) {
    this.#used = Array.from({ length: nrVectors }, () => false);
  }

  /**
   * Allocates `count` vectors, a power of two, from a multiple of `count` on. A function tells its
   * vectors apart by the low bits of the data.
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

  /** Takes vectors that a device sends already. */
  reserve(base: number, count: number): void {
    this.#used.fill(true, base, base + count);
  }

  free(base: number, count: number): void {
    this.#used.fill(false, base, base + count);
  }
}
