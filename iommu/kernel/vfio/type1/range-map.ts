/**
 * Disjoint ranges of pages in order: what Linux keeps in an rb-tree of struct vfio_dma. Ranges are [vpn, vpn + nrPages).
 * Sorted arrays of at most CHUNK ranges in a sorted array: look-ups are two binary searches, an insertion moves one chunk.
 */

export interface PageRange {
  readonly vpn: number;
  readonly nrPages: number;
}

const CHUNK = 512;

export class RangeMap<T extends PageRange> {
  readonly #chunks: T[][] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The lowest range that has a page of [vpn, vpn + nrPages). HOT: twice per MAP_DMA; `npm run bench`, map-pairs. */
  overlapping(vpn: number, nrPages: number): T | undefined {
    const chunk = this.#chunks[this.#chunkEndingAfter(vpn)];
    if (!chunk) return undefined;
    const found = chunk[indexEndingAfter(chunk, vpn)]!;
    return found.vpn < vpn + nrPages ? found : undefined;
  }

  /** Every range that has a page of [vpn, end), in order. */
  within(vpn: number, end: number): T[] {
    const found: T[] = [];
    for (let c = this.#chunkEndingAfter(vpn); c < this.#chunks.length; c++) {
      const chunk = this.#chunks[c]!;
      if (chunk[0]!.vpn >= end) break;
      for (let i = indexEndingAfter(chunk, vpn); i < chunk.length && chunk[i]!.vpn < end; i++) found.push(chunk[i]!);
    }
    return found;
  }

  /** Adds a range that overlaps none here. */
  insert(range: T): void {
    const chunks = this.#chunks;
    const c = Math.min(this.#chunkEndingAfter(range.vpn), chunks.length - 1);
    const chunk = chunks[c];
    if (!chunk) {
      chunks.push([range]);
    } else {
      chunk.splice(indexEndingAfter(chunk, range.vpn), 0, range);
      if (chunk.length > CHUNK) chunks.splice(c + 1, 0, chunk.splice(CHUNK / 2));
    }
    this.#size++;
  }

  /** Removes a range that is here. */
  delete(range: T): void {
    const c = this.#chunkEndingAfter(range.vpn);
    const chunk = this.#chunks[c]!;
    chunk.splice(indexEndingAfter(chunk, range.vpn), 1);
    if (chunk.length === 0) this.#chunks.splice(c, 1);
    this.#size--;
  }

  *[Symbol.iterator](): Generator<T, void> {
    for (const chunk of this.#chunks) yield* chunk;
  }

  /** Index of the first chunk whose last range ends after `vpn`. */
  #chunkEndingAfter(vpn: number): number {
    const chunks = this.#chunks;
    let low = 0;
    let high = chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const last = chunks[middle]!.at(-1)!;
      if (last.vpn + last.nrPages > vpn) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** Index of the first range that ends after `vpn`. */
function indexEndingAfter(ranges: readonly PageRange[], vpn: number): number {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const range = ranges[middle]!;
    if (range.vpn + range.nrPages > vpn) high = middle;
    else low = middle + 1;
  }
  return low;
}
