/** The counters and the timeline of a PCI function, for /dev/livevmm. */
import type { DeviceInfo, TimelineReply } from '../../../abi/control.ts';
import { readPortCounters } from '../../../bus/counters.ts';
import { formatBdf, type PciFunction } from '../../../bus/pci-function.ts';
import { BUCKET_NS, summarize, Timeline } from '../../../bus/timeline.ts';

/** The counts that vfio-pci makes, and those that only the device itself can make. */
type Counted = Pick<DeviceInfo, 'interruptsSent' | 'interruptsRaised' | 'interruptsDropped' | 'opens'>;

export function functionInfo(fn: PciFunction, counted: Counted): DeviceInfo {
  const { transactions, bytesRead, bytesWritten, faults, unsupported } = readPortCounters(fn.counters);
  const known = { bdf: formatBdf(fn.bdf), name: fn.name, group: fn.group, unit: fn.unit ?? null };
  return { ...known, transactions, bytesRead, bytesWritten, faults, unsupported, ...counted };
}

/** The function's timeline in [fromNs, toNs) of CLOCK_MONOTONIC. */
export function functionTimeline(fn: PciFunction, fromNs: number, toNs: number): TimelineReply {
  const buckets = new Timeline(fn.timeline).slice(fromNs, toNs);
  return {
    buckets: buckets.map(({ number, ...counts }) => ({ startNs: number * BUCKET_NS, ...counts })),
    ...summarize(buckets, fromNs, toNs),
  };
}
