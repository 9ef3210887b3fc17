/** cqb and fqb (IOMMU spec §5.6, §5.9): log2 of the entries minus one in bits 4:0, the page in bits 53:10. */
export const queueBase = (pfn: number, log2Entries: number): bigint => (BigInt(pfn) << 10n) | BigInt(log2Entries - 1);
