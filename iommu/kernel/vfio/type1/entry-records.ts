/** The entries of a container and their records (persistent-entries.ts; PKF-7). */
import { einval, eio } from '../../../../platform/errno.ts';
import type { Sliced } from '../../../../platform/slices.ts';
import type { Task } from '../../core/task.ts';
import type { PersistentDomain } from '../../driver/domain.ts';
import { charge, testMemlock, uncharge } from './accounting.ts';
import { DmaEntry } from './dma-entry.ts';
import type { EntryRecord } from './persistent-entries.ts';
import { invalidate, revalidate } from './vaddr.ts';
import type { VfioIommu } from './vfio-iommu.ts';

/** Records a new entry. EINVAL: its memory is not one run; ENOSPC. */
export function recordEntry({ entriesFile }: VfioIommu, entry: DmaEntry): void {
  const pfn = entry.runs[0]?.pfn;
  if (!entriesFile || pfn === undefined) return;
  let end = pfn;
  for (const run of entry.runs) {
    if (run.pfn !== end) throw einval('a persistent mapping is of memory that lies in one piece');
    end += run.nrPages;
  }
  entry.slot = entriesFile.add({ vpn: entry.vpn, pfn, nrPages: entry.nrPages, prot: entry.prot });
}

/** An entry is about to go; not with the kernel that ends. */
export function forgetEntry({ entriesFile, leaving }: VfioIommu, entry: DmaEntry): void {
  if (entry.slot === undefined || leaving) return;
  entriesFile!.remove(entry.slot);
  entry.slot = undefined;
}

/**
 * All entries of the file, as an earlier kernel has left them: pinned, charged to the caller, and
 * without a valid vaddr until MAP_DMA with VADDR. EIO: one of them is not in the tables, or its
 * memory is no file any more; ENOMEM. Nothing is restored then.
 */
export function* restoreEntries(iommu: VfioIommu, domain: PersistentDomain, task: Task): Sliced<void> {
  const done: DmaEntry[] = [];
  try {
    for (const record of iommu.entriesFile?.records() ?? []) {
      done.push(restoreEntry(iommu, domain, record, task));
      yield;
    }
  } catch (error) {
    for (const entry of done) {
      revalidate(iommu, entry);
      iommu.unlink(entry);
      iommu.dmaAvail++;
      uncharge(iommu, entry, entry.nrPages, task);
      for (const run of entry.runs) iommu.pinner.unpin(run);
      entry.mm.drop();
    }
    throw error;
  }
}

function restoreEntry(iommu: VfioIommu, domain: PersistentDomain, record: EntryRecord, task: Task): DmaEntry {
  const { slot, vpn, pfn, nrPages, prot } = record;
  const run = iommu.pinner.pinReserved(pfn, nrPages);
  if (!run) throw eio(`persistent mapping ${slot}: its memory is no file any more`);
  const entry = new DmaEntry({ vpn, nrPages, vaddrPage: 0, prot, mapper: task });
  try {
    domain.checkMapped(vpn, run, prot, entry);
    testMemlock(entry, nrPages, task);
    charge(iommu, entry, nrPages, task);
  } catch (error) {
    iommu.pinner.unpin(run);
    entry.mm.drop();
    throw error;
  }
  entry.runs.push(run);
  entry.iommuMapped = true;
  entry.slot = slot;
  iommu.dmaAvail--;
  iommu.link(entry);
  invalidate(iommu, entry);
  return entry;
}
