/** From memory to translations and back: pin, charge and map an entry; unmap, flush, unpin and uncharge it (ACC-1, IOM-2, UNM-15). */
import { runWhole } from '../../../../platform/slices.ts';
import { IOMMU_WRITE } from '../../driver/domain.ts';
import type { PinnedRun } from '../../pin.ts';
import type { Task } from '../../task.ts';
import { charge, testMemlock, uncharge } from './accounting.ts';
import type { DmaEntry } from './dma-entry.ts';
import type { AttachedDomain, Iommu } from './iommu.ts';

/** Regions whose unpinning may wait for one flush (NUM-9). */
const SYNC_REGIONS = 512;

/** Runs that are unmapped but may still be in use by devices: they are unpinned after the flush that covers them (UNM-15). */
export class DeferredUnpin {
  readonly #iommu: Iommu;
  #runs: PinnedRun[] = [];

  constructor(iommu: Iommu) {
    this.#iommu = iommu;
  }

  add(runs: readonly PinnedRun[]): void {
    for (const run of runs) this.#runs.push(run);
    if (this.#runs.length >= SYNC_REGIONS) this.flush();
  }

  /** Returns when no device can reach what was unmapped before, and its pins are gone. */
  flush(): void {
    for (const { domain } of this.#iommu.domains) domain.flush();
    const runs = this.#runs;
    this.#runs = [];
    for (const run of runs) this.#iommu.pinner.unpin(run);
  }
}

/** MAP-13: pins run by run and maps each in every domain. On an error nothing of it stays. */
export function pinAndMap(iommu: Iommu, entry: DmaEntry, task: Task): void {
  let done = 0;
  try {
    while (done < entry.nrPages) {
      const run = pinCharged(iommu, entry, done, task);
      entry.runs.push(run);
      mapRun(iommu.domains, entry.vpn + done, run, entry.prot);
      done += run.nrPages;
    }
  } catch (error) {
    const unpin = new DeferredUnpin(iommu);
    uncharge(iommu, entry, unmapEntry(iommu, entry, unpin), task);
    unpin.flush();
    throw error;
  }
  entry.iommuMapped = true;
}

/** ACC-1…3: pins the longest run from page `first` of the entry on and charges it. */
export function pinCharged(iommu: Iommu, entry: DmaEntry, first: number, task: Task): PinnedRun {
  const write = (entry.prot & IOMMU_WRITE) !== 0;
  const most = iommu.parameters.disableHugepages ? 1 : entry.nrPages - first;
  const run = runWhole(iommu.pinner.pin(task.mm, entry.vaddrPage + first, most, write));
  const nrPages = nrCharged(entry, entry.vpn + first, run);
  try {
    testMemlock(entry, nrPages, task);
    charge(iommu, entry, nrPages, task);
  } catch (error) {
    iommu.pinner.unpin(run);
    throw error;
  }
  return run;
}

/** Pages of a run at vpn that are charged for it: not device memory, and not what drivers have pinned, and charged, already. */
export function nrCharged(entry: DmaEntry, vpn: number, run: PinnedRun): number {
  if (run.reserved) return 0;
  if (!entry.externalPins) return run.nrPages;
  let pinned = 0;
  for (const page of entry.externalPins.keys()) if (page >= vpn && page < vpn + run.nrPages) pinned++;
  return run.nrPages - pinned;
}

/** IOM-2: in all domains, in order; on an error the earlier ones are undone in reverse. */
function mapRun(domains: readonly AttachedDomain[], vpn: number, run: PinnedRun, prot: number): void {
  for (const [i, { domain }] of domains.entries()) {
    try {
      domain.map(vpn, run.pfn, run.nrPages, prot);
    } catch (error) {
      for (const earlier of domains.slice(0, i).reverse()) {
        earlier.domain.unmap(vpn, run.nrPages);
        earlier.domain.flush();
      }
      throw error;
    }
  }
}

/** Takes an entry's translations out of all domains; pages that will be unpinned, and were charged or pinned by drivers too. */
export function unmapEntry(iommu: Iommu, entry: DmaEntry, unpin: DeferredUnpin): number {
  const { runs } = entry;
  entry.iommuMapped = false;
  if (runs.length === 0) return 0;
  for (const { domain } of iommu.domains) domain.unmap(entry.vpn, entry.nrPages);
  entry.runs = [];
  let nrPages = 0;
  for (const run of runs) if (!run.reserved) nrPages += run.nrPages;
  unpin.add(runs);
  return nrPages;
}

/** vfio_remove_dma: an entry goes, with everything it holds (UNM-14, UNM-16). */
export function removeEntry(iommu: Iommu, entry: DmaEntry, unpin: DeferredUnpin, caller: Task | undefined): void {
  uncharge(iommu, entry, unmapEntry(iommu, entry, unpin), caller);
  for (const { run } of entry.externalPins?.values() ?? []) iommu.pinner.unpin(run); // of a driver that is gone
  iommu.unlink(entry);
  entry.mm.drop();
  iommu.dmaAvail++;
  if (!entry.vaddrInvalid) return;
  iommu.vaddrInvalidCount--;
  iommu.waiters.wakeAll();
}

/** vfio_iommu_unmap_unpin_all: no group is left that could use them. */
export function removeAll(iommu: Iommu): void {
  const unpin = new DeferredUnpin(iommu);
  for (const entry of iommu.entries()) removeEntry(iommu, entry, unpin, undefined);
  unpin.flush();
}
