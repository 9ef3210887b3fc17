/**
 * Pages of a BAR that this container has mapped for the DMA of its devices, when the BAR's device
 * takes them back: at its last close, or when it is disabled (P2P-3…5, P2P-10). The device may be
 * in another container. It holds no lock of that one here, so two devices that are mapped in each
 * other's containers may go at once (RACE-24).
 */
import type { Sliced } from '../../../../platform/slices.ts';
import type { DeviceMemory } from '../../mm/device-memory.ts';
import type { PinnedRun } from '../../mm/pin.ts';
import type { DmaEntry } from './dma-entry.ts';
import { DeferredUnpin, removeEntry, unmapPages } from './pin-map.ts';
import { untilUnpinned } from './unmap.ts';
import type { VfioIommu } from './vfio-iommu.ts';

/**
 * Gives the memory back. Returns a promise while others have the lock, while drivers unpin, and for
 * many entries.
 */
export function deviceMemoryGoes(iommu: VfioIommu, memory: DeviceMemory): void | Promise<void> {
  return iommu.lock.enter(() =>
    iommu.profile.peerMappings === 'closed'
      ? untilUnpinned(iommu, () => removeEntries(iommu, memory), undefined)
      : iommu.lock.run(revokeRuns(iommu, memory)),
  );
}

/**
 * P2P-4: removes every entry with a page of the memory, up to the first of which drivers have
 * pinned pages, and returns that one. The entries' user is not told (P2P-5).
 */
function* removeEntries(iommu: VfioIommu, memory: DeviceMemory): Sliced<DmaEntry | undefined> {
  const unpin = new DeferredUnpin(iommu);
  try {
    for (const entry of iommu.entries()) {
      if (!entry.devices?.has(memory)) continue;
      if (entry.hasExternalPins) return entry;
      yield* removeEntry(iommu, entry, unpin, undefined);
    }
    return undefined;
  } finally {
    yield* unpin.flush();
  }
}

/**
 * P2P-9: unmaps the pages. The entries stay, and neither the device's return nor a new domain gives
 * them translations again: only UNMAP and MAP do.
 */
function* revokeRuns(iommu: VfioIommu, memory: DeviceMemory): Sliced<void> {
  for (const entry of iommu.entries()) {
    if (!entry.devices?.has(memory)) continue;
    let { vpn } = entry;
    const runs: PinnedRun[] = [];
    for (const run of entry.runs) {
      const goes = run.device === memory && !run.revoked;
      if (goes) for (const { domain } of iommu.domains) yield* unmapPages(domain, vpn, run.nrPages);
      runs.push(goes ? { ...run, revoked: true } : run);
      vpn += run.nrPages;
    }
    entry.runs = runs;
  }
  for (const { domain } of iommu.domains) domain.flush();
}
