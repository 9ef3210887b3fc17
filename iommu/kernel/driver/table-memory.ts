/**
 * The memory that tables lie in: pages of one range of RAM, by their page numbers (pfn) on the
 * board. Pages come zeroed, and whoever gives one back has cleared it again.
 */
export interface TableMemory {
  /** All words of the memory; index with wordOf(). */
  readonly words: Int32Array;
  readonly nrPages: number;
  /** Index in `words` of a page's first word. */
  wordOf(pfn: number): number;
  /** Index of a page among all of them, for arrays beside the pages. */
  indexOf(pfn: number): number;
  /** One zeroed page. ENOMEM when there is none. */
  allocate(): number;
  release(pfn: number): void;
  /** Four zeroed pages in a row at a multiple of 16 KiB: the root of a second-stage table. */
  allocateRoot(): number;
  releaseRoot(pfn: number): void;
}
