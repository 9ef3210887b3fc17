/**
 * The registers cqb and fqb (IOMMU spec §5.6, §5.9): bits 4:0 are log2 of the entries minus one,
 * bits 53:10 are the page.
 */

export const queueBase = (pfn: number, log2Entries: number): bigint => (BigInt(pfn) << 10n) | BigInt(log2Entries - 1);

/** Entries of the queue, from the low word of its base register. */
export const queueEntries = (baseLo: number): number => 2 ** ((baseLo & 0x1f) + 1);
