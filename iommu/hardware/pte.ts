/**
 * 64-bit entries of tables in memory (page tables, directories), and the protocol that publishes
 * and reads them.
 *
 * The specification wants an entry to change by one 64-bit store (IOMMU spec §2.5). Here that is
 * two 32-bit atomic stores:
 *   - a writer (one per table) publishes `hi` first, then `lo` with V set. It clears `lo` only. A
 *     valid entry is changed by clearing and publishing, never in place. If the page is another
 *     one, an IOTINVAL and IOFENCE.C lie between;
 *   - a reader takes lo, hi, lo, until both lo are the same.
 * So a reader never combines halves of two entries: `hi` changes only while `lo` is 0. Suppose both
 * loads of `lo` gave the same valid value and yet it was 0 in between. Then the entry was cleared
 * and published again, and `hi` is the old or the new one; both belong to that `lo`. A third entry
 * cannot have been there within one read, because the fence waits for the reader.
 */

export const PTE_V = 1 << 0;
export const PTE_R = 1 << 1;
export const PTE_W = 1 << 2;
export const PTE_X = 1 << 3;
export const PTE_U = 1 << 4;
export const PTE_G = 1 << 5;
export const PTE_A = 1 << 6;
export const PTE_D = 1 << 7;

/** Words of an Int32Array per entry. */
export const ENTRY_WORDS = 2;
/** Entries per table of 4 KiB. */
export const ENTRIES = 512;

/**
 * High word, bits 63:54 of an entry except N (63): PBMT and reserved bits, none of them supported.
 */
export const PTE_HI_RESERVED = 0x7fc00000;
/** High word: bit 63, Svnapot. */
export const PTE_HI_N = 0x80000000 | 0;

const PPN_LO_BITS = 22;

/** Low word of an entry for page `pfn`. */
export const entryLo = (pfn: number, flags: number): number => ((pfn & 0x3fffff) << 10) | flags;
/** High word of an entry for page `pfn`. */
export const entryHi = (pfn: number): number => Math.floor(pfn / (1 << PPN_LO_BITS));
/** PPN (bits 53:10) of an entry. */
export const entryPfn = (lo: number, hi: number): number => (hi & 0x3fffff) * (1 << PPN_LO_BITS) + (lo >>> 10);

/** Makes an empty entry valid: `index` is that of its low word. */
export function publishEntry(words: Int32Array, index: number, lo: number, hi: number): void {
  Atomics.store(words, index + 1, hi);
  Atomics.store(words, index, lo); // pairs with the loads in EntryReader.read
}

/** Makes an entry invalid. Devices may use it until an IOTINVAL and an IOFENCE.C have returned. */
export function clearEntry(words: Int32Array, index: number): void {
  Atomics.store(words, index, 0); // pairs with the loads in EntryReader.read; `hi` stays, see above
}

/** Holds the two halves of the entry it has read last. */
export class EntryReader {
  lo = 0;
  hi = 0;

  // HOT (each level of a walk; 15 ns)
  read(words: Int32Array, index: number): void {
    let lo = Atomics.load(words, index); // pairs with the stores in publishEntry and clearEntry
    for (;;) {
      const hi = Atomics.load(words, index + 1);
      const again = Atomics.load(words, index);
      if (again === lo) {
        this.lo = lo;
        this.hi = hi;
        return;
      }
      lo = again;
    }
  }

  pfn(): number {
    return entryPfn(this.lo, this.hi);
  }
}
