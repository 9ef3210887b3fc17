/**
 * The window of a domain in which its MSIs go, where a user of VFIO donates it (RSV-1). A doorbell
 * gets a page of it when its first vector is set up, and all vectors of that doorbell share the
 * page (RSV-8). Ranges are [vpn, vpn + nrPages).
 */
import { einval, enospc } from '../../../platform/errno.ts';
import { hex } from '../../../platform/hex.ts';

/** The mappings of the domain that has the window. */
export interface WindowMappings {
  map(vpn: number, pfn: number): void;
  /** Returns when no device reaches the page any more. */
  unmap(vpn: number): void;
}

interface Doorbell {
  readonly vpn: number;
  vectors: number;
}

export class DonatedWindow {
  readonly #mappings: WindowMappings;
  #range: { readonly vpn: number; readonly nrPages: number } | undefined;
  /** By the page of the bus where they are. */
  readonly #doorbells = new Map<number, Doorbell>();

  constructor(mappings: WindowMappings) {
    this.#mappings = mappings;
  }

  /** EINVAL when there is a window already (RSV-4). */
  set(vpn: number, nrPages: number): void {
    if (this.#range) throw einval(`the domain has an MSI window at iova page ${hex(this.#range.vpn)}`);
    this.#range = { vpn, nrPages };
  }

  /** Takes back a window in which nothing is mapped yet. */
  clear(): void {
    this.#range = undefined;
  }

  /**
   * The page by which devices reach the doorbell at `pfn`, for one more vector. EINVAL without a
   * window, ENOSPC when it is full; ENOMEM as a mapping.
   */
  acquire(pfn: number): number {
    const known = this.#doorbells.get(pfn);
    if (known) {
      known.vectors++;
      return known.vpn;
    }
    const vpn = this.#freePage();
    this.#mappings.map(vpn, pfn);
    this.#doorbells.set(pfn, { vpn, vectors: 1 });
    return vpn;
  }

  #freePage(): number {
    if (!this.#range) throw einval('nobody has donated a window for MSIs');
    const { vpn, nrPages } = this.#range;
    const taken = new Set([...this.#doorbells.values()].map((doorbell) => doorbell.vpn));
    for (let page = vpn; page < vpn + nrPages; page++) if (!taken.has(page)) return page;
    throw enospc(`the MSI window of ${nrPages} pages is full`);
  }

  /** A vector of the doorbell has gone. The last one takes the mapping with it. */
  release(pfn: number): void {
    const doorbell = this.#doorbells.get(pfn);
    if (!doorbell || --doorbell.vectors > 0) return;
    this.#doorbells.delete(pfn);
    this.#mappings.unmap(doorbell.vpn);
  }
}
