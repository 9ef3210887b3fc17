/** The counters and the timeline of a PCI function, for /dev/livevmm. */
import type { DeviceInfo, FunctionFacts, TimelineReply } from '../../../abi/control.ts';
import { PCI_ROM_ADDRESS, PCI_ROM_ADDRESS_MASK } from '../../../abi/pci-regs.ts';
import { readPortCounters } from '../../../bus/counters.ts';
import { formatBdf, type PciFunction } from '../../../bus/pci-function.ts';
import { BUCKET_NS, summarize, Timeline } from '../../../bus/timeline.ts';
import type { PciAccess } from './access.ts';
import type { PciResources } from './resources.ts';

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

/** The function as enumeration finds it. */
export function functionFacts(
  fn: PciFunction,
  { bars, configSize, romSize }: PciResources,
  pci: PciAccess,
): FunctionFacts {
  const config = new Uint8Array(configSize);
  const view = new DataView(config.buffer);
  for (let at = 0; at < configSize; at += 4) view.setUint32(at, pci.readConfig(at, 4), true);
  const barFacts = bars.map((bar) => bar && { space: bar.space, start: bar.start, size: bar.size, flags: bar.flags });
  const romStart = (pci.readConfig(PCI_ROM_ADDRESS, 4) & PCI_ROM_ADDRESS_MASK) >>> 0;
  const rom = romSize === 0 ? null : { start: romStart, size: romSize };
  return { bdf: formatBdf(fn.bdf), group: fn.group, config, bars: barFacts.map((bar) => bar ?? null), rom };
}
