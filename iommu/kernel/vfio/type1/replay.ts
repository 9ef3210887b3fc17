/** A new domain gets all mappings of the container (ATT-3; vfio_iommu_replay). */
import type { Sliced } from '../../../../platform/slices.ts';
import type { Task } from '../../core/task.ts';
import type { IommuDomain } from '../../driver/domain.ts';
import { uncharge } from './accounting.ts';
import type { DmaEntry } from './dma-entry.ts';
import { giveMsiWindow } from './msi-window.ts';
import { mapPages, nrCharged, pinCharged, unmapPages } from './pin-map.ts';
import type { VfioIommu } from './vfio-iommu.ts';

/**
 * Maps all entries in a new domain. Entries that other domains have mapped already are mapped to
 * the same pages. The other entries are pinned and charged now. On an error everything is as
 * before, except for the mappings in `domain`, which the caller frees.
 */
export function* replay(iommu: VfioIommu, domain: IommuDomain, task: Task): Sliced<void> {
  const entries: DmaEntry[] = [];
  for (const entry of iommu.entries()) {
    if (entry.type === 'msi') giveMsiWindow(domain, entry);
    else if (iommu.isReplayed(entry)) entries.push(entry);
  }
  const fresh = entries.filter((entry) => !entry.iommuMapped);
  try {
    for (const entry of entries) {
      if (entry.iommuMapped) yield* mapPinned(domain, entry);
      else yield* pinInto(iommu, domain, entry, task);
    }
  } catch (error) {
    for (const entry of entries) yield* unmapPages(domain, entry.vpn, entry.nrPages);
    domain.flush();
    for (const entry of fresh.reverse()) yield* unpinAgain(iommu, entry, task);
    throw error;
  }
  for (const entry of iommu.entries()) entry.iommuMapped = entry.type === 'user';
}

function* mapPinned(domain: IommuDomain, entry: DmaEntry): Sliced<void> {
  let { vpn } = entry;
  for (const run of entry.runs) {
    if (!run.revoked) yield* mapPages(domain, vpn, run, entry.prot);
    vpn += run.nrPages;
    yield;
  }
}

function* pinInto(iommu: VfioIommu, domain: IommuDomain, entry: DmaEntry, task: Task): Sliced<void> {
  for (let done = 0; done < entry.nrPages; ) {
    const run = yield* pinCharged(iommu, entry, done, task);
    entry.runs.push(run);
    yield* mapPages(domain, entry.vpn + done, run, entry.prot);
    done += run.nrPages;
    yield;
  }
}

function* unpinAgain(iommu: VfioIommu, entry: DmaEntry, task: Task): Sliced<void> {
  let { vpn } = entry;
  let charged = 0;
  for (const run of entry.runs) {
    charged += nrCharged(entry, vpn, run);
    iommu.pinner.unpin(run);
    vpn += run.nrPages;
    yield;
  }
  entry.runs = [];
  uncharge(iommu, entry, charged, task);
}
