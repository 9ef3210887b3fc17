/**
 * cqb and fqb (IOMMU spec §5.6, §5.9): log2 of the entries minus one in bits 4:0, the page in bits
 * 53:10.
 */

export const queueBase = (pfn: number, log2Entries: number): bigint => (BigInt(pfn) << 10n) | BigInt(log2Entries - 1);

/** Entries of the queue, from the low word of its base register. */
export const queueEntries = (baseLo: number): number => 2 ** ((baseLo & 0x1f) + 1);
