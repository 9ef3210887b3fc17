/**
 * The way from memory to translations and back: an entry is pinned, charged and mapped; it is
 * unmapped, flushed, unpinned and uncharged (ACC-1, IOM-2, UNM-15).
 */
import { eintr } from '../../../../platform/errno.ts';
import type { Sliced } from '../../../../platform/slices.ts';
import type { Task } from '../../core/task.ts';
import { IOMMU_WRITE, type IommuDomain } from '../../driver/domain.ts';
import type { PinnedRun } from '../../mm/pin.ts';
import { charge, testMemlock, uncharge } from './accounting.ts';
import type { DmaEntry } from './dma-entry.ts';
import { forgetEntry } from './entry-records.ts';
import { checkPersistent } from './persistent-memory.ts';
import type { AttachedDomain, VfioIommu } from './vfio-iommu.ts';

/** How many regions may wait for one flush before they are unpinned (NUM-9). */
const SYNC_REGIONS = 512;
/** How many page-table entries are written in one go: 40 ns each. */
const STEP_PAGES = 2 ** 15;
const LARGE_PAGES = 2 ** 18;
const LARGE = BigInt(LARGE_PAGES * 4096);

/**
 * Runs that are unmapped but may still be in use by devices. They are unpinned after the flush that
 * covers them (UNM-15).
 */
export class DeferredUnpin {
  readonly #iommu: VfioIommu;
  #runs: PinnedRun[] = [];

  constructor(iommu: VfioIommu) {
    this.#iommu = iommu;
  }

  *add(runs: readonly PinnedRun[]): Sliced<void> {
    for (const run of runs) this.#runs.push(run);
    if (this.#runs.length >= SYNC_REGIONS) yield* this.flush();
  }

  /** Returns when no device can reach the pages unmapped before, and their pins are gone. */
  *flush(): Sliced<void> {
    for (const { domain } of this.#iommu.domains) domain.flush();
    const runs = this.#runs;
    this.#runs = [];
    for (const run of runs) {
      this.#iommu.pinner.unpin(run);
      yield;
    }
  }
}

/** MAP-13: pins an entry run by run and maps each run in every domain. Errors as of pinEach. */
export function pinAndMap(iommu: VfioIommu, entry: DmaEntry, task: Task): Sliced<void> {
  return pinEach(iommu, entry, task, (vpn, run) => mapRun(iommu.domains, vpn, run, entry.prot));
}

/**
 * Pins an entry run by run, and does the rest for each run, from iova page `vpn` on. On an error
 * nothing of the entry stays.
 */
export function* pinEach(
  iommu: VfioIommu,
  entry: DmaEntry,
  task: Task,
  rest: (vpn: number, run: PinnedRun) => Sliced<void> | undefined,
): Sliced<void> {
  let done = 0;
  try {
    while (done < entry.nrPages) {
      const run = yield* pinCharged(iommu, entry, done, task);
      entry.runs.push(run);
      const more = rest(entry.vpn + done, run);
      if (more) yield* more;
      done += run.nrPages;
      yield;
    }
  } catch (error) {
    const unpin = new DeferredUnpin(iommu);
    uncharge(iommu, entry, yield* unmapEntry(iommu, entry, unpin), task);
    yield* unpin.flush();
    throw error;
  }
  entry.iommuMapped = true;
}

/** ACC-1…3: pins and charges the longest run from page `first` of the entry on. */
export function* pinCharged(iommu: VfioIommu, entry: DmaEntry, first: number, task: Task): Sliced<PinnedRun> {
  // fatal_signal_pending, as in __get_user_pages
  if (task.killed.aborted) throw eintr(`process ${task.pid} is being killed`);
  const write = (entry.prot & IOMMU_WRITE) !== 0;
  const most = iommu.parameters.disableHugepages ? 1 : entry.nrPages - first;
  const run = yield* iommu.pinner.pin(task.mm, entry.vaddrPage + first, most, write);
  iommu.peers.add(entry, run.device);
  const nrPages = nrCharged(entry, entry.vpn + first, run);
  try {
    checkPersistent(iommu, run);
    testMemlock(entry, nrPages, task);
    charge(iommu, entry, nrPages, task);
  } catch (error) {
    iommu.pinner.unpin(run);
    throw error;
  }
  return run;
}

/**
 * How many pages of a run at vpn are charged for the run. Device memory is not charged, nor are
 * pages that drivers have already pinned and so charged.
 */
export function nrCharged(entry: DmaEntry, vpn: number, run: PinnedRun): number {
  if (run.reserved) return 0;
  if (!entry.externalPins) return run.nrPages;
  let pinned = 0;
  for (const page of entry.externalPins.keys()) if (page >= vpn && page < vpn + run.nrPages) pinned++;
  return run.nrPages - pinned;
}

/**
 * IOM-2: maps a run in all domains, in order. On an error the run is unmapped from the earlier
 * domains, in reverse order.
 */
function* mapRun(domains: readonly AttachedDomain[], vpn: number, run: PinnedRun, prot: number): Sliced<void> {
  for (const [i, { domain }] of domains.entries()) {
    try {
      yield* mapPages(domain, vpn, run, prot);
    } catch (error) {
      for (const earlier of domains.slice(0, i).reverse()) {
        yield* unmapPages(earlier.domain, vpn, run.nrPages);
        earlier.domain.flush();
      }
      throw error;
    }
  }
}

/** Maps a run in one domain. On an error nothing of it stays there. */
export function* mapPages(domain: IommuDomain, vpn: number, run: PinnedRun, prot: number): Sliced<void> {
  // If the largest pages fit there are few page-table entries, and cutting the run would cut them.
  const whole = (domain.pgsizes & LARGE) !== 0n && (vpn - run.pfn) % LARGE_PAGES === 0;
  let done = 0;
  try {
    while (done < run.nrPages) {
      if (done > 0) yield;
      const rest = run.nrPages - done;
      const count = whole ? rest : Math.min(STEP_PAGES - ((vpn + done) % STEP_PAGES), rest);
      domain.map(vpn + done, run.pfn + done, count, prot);
      done += count;
    }
  } catch (error) {
    yield* unmapPages(domain, vpn, done);
    domain.flush();
    throw error;
  }
}

/**
 * Unmaps [vpn, vpn + nrPages) from one domain. The range consists of whole mappings, whose leaves
 * reach no further.
 */
export function* unmapPages(domain: IommuDomain, vpn: number, nrPages: number): Sliced<void> {
  for (let done = 0; done < nrPages; ) {
    if (done > 0) yield;
    const count = Math.min(STEP_PAGES - ((vpn + done) % STEP_PAGES), nrPages - done);
    // more where a large page was cut into
    done += Math.max(count, domain.unmap(vpn + done, count));
  }
}

/**
 * Removes an entry's translations from all domains. Returns how many pages will be unpinned; these
 * are the pages that were charged, for the entry or already for drivers' pins.
 */
export function* unmapEntry(iommu: VfioIommu, entry: DmaEntry, unpin: DeferredUnpin): Sliced<number> {
  const { runs } = entry;
  entry.iommuMapped = false;
  if (runs.length === 0) return 0;
  const leaves = entry.leavesTables || iommu.leaving;
  if (!leaves) for (const { domain } of iommu.domains) yield* unmapPages(domain, entry.vpn, entry.nrPages);
  entry.runs = [];
  let nrPages = 0;
  for (const run of runs) if (!run.reserved) nrPages += run.nrPages;
  yield* unpin.add(runs);
  return nrPages;
}

/** vfio_remove_dma: removes an entry with everything it holds (UNM-14, UNM-16). */
export function* removeEntry(
  iommu: VfioIommu,
  entry: DmaEntry,
  unpin: DeferredUnpin,
  caller: Task | undefined,
): Sliced<void> {
  forgetEntry(iommu, entry);
  const nrPages = yield* unmapEntry(iommu, entry, unpin);
  if (!iommu.leaving) uncharge(iommu, entry, nrPages, caller); // else this kernel's charges end with it
  // pins of a driver that is gone
  for (const { run } of entry.externalPins?.values() ?? []) iommu.pinner.unpin(run);
  iommu.unlink(entry);
  entry.mm.drop();
  iommu.dmaAvail++;
  yield;
  if (!entry.vaddrInvalid) return;
  iommu.vaddrInvalidCount--;
  iommu.waiters.wakeAll();
}

/** vfio_iommu_unmap_unpin_all: removes all entries. No group is left that could use them. */
export function* removeAll(iommu: VfioIommu): Sliced<void> {
  const unpin = new DeferredUnpin(iommu);
  for (const entry of iommu.entries()) yield* removeEntry(iommu, entry, unpin, undefined);
  yield* unpin.flush();
}
