/**
 * Counters of the work of a DMA port since power-on. They are Float64. Only the port's own thread
 * writes them; any thread reads them at any time.
 */
import { defineShared, word64 } from '../../platform/shared.ts';

export const PortCounters = defineShared('port counters', {
  transactions: word64, // accesses, refused ones included: one per chunk of up to 64 KiB
  bytesRead: word64, // bus → device
  bytesWritten: word64, // device → bus
  faults: word64, // accesses that the IOMMU refused, also those that no fault record tells of
  misses: word64, // table walks
  invalidations: word64, // invalidation requests this port has taken note of
  unsupported: word64, // accesses let through by the IOMMU that nothing answered: Unsupported Requests
  pad0: word64,
});

export interface PortCounts {
  readonly transactions: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly faults: number;
  readonly misses: number;
  readonly invalidations: number;
  readonly unsupported: number;
}

export function createPortCounters(): SharedArrayBuffer {
  return new SharedArrayBuffer(PortCounters.size);
}

export function readPortCounters(counters: SharedArrayBuffer): PortCounts {
  const long = new Float64Array(counters);
  const at = PortCounters.word64;
  return {
    transactions: long[at.transactions]!,
    bytesRead: long[at.bytesRead]!,
    bytesWritten: long[at.bytesWritten]!,
    faults: long[at.faults]!,
    misses: long[at.misses]!,
    invalidations: long[at.invalidations]!,
    unsupported: long[at.unsupported]!,
  };
}
