/**
 * The mappings of a container in order: the rb-tree of struct vfio_dma, with the look-ups that
 * vfio_iommu_type1.c makes in it. Ranges are [vpn, end) in pages, with end up to IOVA_END.
 *
 * Kernels before 6.18 compute ends with 64 bits, so an end of 2^64 becomes 0 (RACE-10). Their
 * look-ups work as here. No look-up finds a mapping that ends at 2^64. A search for the first
 * mapping of a range that comes to such a mapping misses the mappings to its left.
 */
import type { Profile } from '../../core/profile.ts';
import { next, RbNode, RbTree } from './rb-tree.ts';

/** Pages of a 64-bit address space. */
export const IOVA_END = 2 ** 52;

/** One of the mappings. */
export abstract class DmaRange<T> extends RbNode<T> {
  abstract readonly vpn: number;
  abstract readonly nrPages: number;
}

export class DmaTree<T extends DmaRange<T>> {
  readonly #tree = new RbTree<T>();
  readonly #endIs0: boolean;
  #size = 0;

  constructor({ lastPage }: Pick<Profile, 'lastPage'>) {
    this.#endIs0 = lastPage === 'broken';
  }

  get size(): number {
    return this.#size;
  }

  /** An end as the kernel sees it: 0 for 2^64, else the number itself. */
  #end(end: number): number {
    return this.#endIs0 && end === IOVA_END ? 0 : end;
  }

  /** Whether the kernel computes the end of this range correctly. */
  knowsEnd(range: T): boolean {
    return this.#end(range.vpn + range.nrPages) !== 0;
  }

  /**
   * vfio_find_dma: returns a mapping that has a page of [vpn, vpn + nrPages). HOT: twice per
   * MAP_DMA; `npm run bench`, map-pairs.
   */
  find(vpn: number, nrPages: number): T | undefined {
    const end = this.#end(vpn + nrPages);
    let node = this.#tree.root;
    while (node) {
      if (end <= node.vpn) node = node.left;
      else if (vpn >= this.#end(node.vpn + node.nrPages)) node = node.right;
      else return node;
    }
    return undefined;
  }

  /**
   * vfio_find_dma_first_node and the walk from there: yields the mappings that have a page of [vpn,
   * end), in order. The caller may delete each of them.
   */
  within(vpn: number, end: number): Generator<T, void> {
    return this.#walk(vpn, this.#end(end));
  }

  /** The same for the range that UNMAP ALL takes for everything. */
  withinAll(): Generator<T, void> {
    return this.#walk(0, IOVA_END);
  }

  *#walk(vpn: number, end: number): Generator<T, void> {
    for (let node = this.#firstNode(vpn, end); node && node.vpn < end; ) {
      const following = next(node);
      yield node;
      node = following;
    }
  }

  /** The first mapping that ends after `vpn`, if it begins before `end`. */
  #firstNode(vpn: number, end: number): T | undefined {
    let found: T | undefined;
    for (let node = this.#tree.root; node; ) {
      if (vpn >= this.#end(node.vpn + node.nrPages)) {
        node = node.right;
        continue;
      }
      found = node;
      if (vpn >= node.vpn) break;
      node = node.left;
    }
    return found && found.vpn < end ? found : undefined;
  }

  /** vfio_link_dma. The kernel calls it while the size is still 0. */
  insert(range: T): void {
    this.#tree.insert(range, (other) => range.vpn <= other.vpn);
    this.#size++;
  }

  /** Removes a mapping that is in the tree. */
  delete(range: T): void {
    this.#tree.delete(range);
    this.#size--;
  }

  /** Yields really all mappings, in order. The caller may delete each of them. */
  *[Symbol.iterator](): Generator<T, void> {
    for (let node = this.#tree.first(); node; ) {
      const following = next(node);
      yield node;
      node = following;
    }
  }
}
