/**
 * Invalid vaddrs. Between UNMAP_DMA(VADDR) and MAP_DMA(VADDR) an entry has pins and translations
 * but no memory of a process.
 */
import { ebusy } from '../../../../platform/errno.ts';
import type { Task } from '../../core/task.ts';
import { moveCharge } from './accounting.ts';
import type { DmaEntry } from './dma-entry.ts';
import type { VfioIommu } from './vfio-iommu.ts';

/** UNM-10: valid → invalid. */
export function invalidate(iommu: VfioIommu, entry: DmaEntry): void {
  entry.vaddrInvalid = true;
  iommu.vaddrInvalidCount++;
}

/** Undoes invalidate(). */
export function revalidate(iommu: VfioIommu, entry: DmaEntry): void {
  entry.vaddrInvalid = false;
  iommu.vaddrInvalidCount--;
}

/**
 * MAP-6: the same memory object is now at another vaddr; nothing checks that it is the same object.
 * From 6.3 on the charge moves to the caller as well (ACC-6). ENOMEM leaves the entry invalid.
 */
export function updateVaddr(iommu: VfioIommu, entry: DmaEntry, vaddrPage: number, task: Task): void {
  if (iommu.profile.mapVaddrMovesCharge) moveCharge(entry, task);
  entry.vaddrPage = vaddrPage;
  revalidate(iommu, entry);
  iommu.waiters.wakeAll();
}

/**
 * Sleeps until a vaddr may have become valid. The caller must then enter the lock anew and look
 * again from scratch (VAD-2).
 */
export function sleepOnVaddr(iommu: VfioIommu, killed: AbortSignal | undefined): Promise<void> {
  return iommu.waiters.sleep(() => iommu.containerOpen, killed);
}

/** VAD-3, VAD-8: runs `body` when `hasInvalid` says no; `body` has the lock. */
export async function whenValid<T>(
  iommu: VfioIommu,
  killed: AbortSignal | undefined,
  hasInvalid: () => boolean,
  body: () => T | Promise<T>,
): Promise<T> {
  for (;;) {
    if (iommu.lock.held) await iommu.lock.held;
    else if (hasInvalid()) await sleepOnVaddr(iommu, killed);
    else return body();
  }
}

/** VAD-15: newer kernels refuse the calls that may sleep in older kernels. */
export function refuseInvalid(iommu: VfioIommu): void {
  if (iommu.profile.invalidVaddr === 'refused' && iommu.vaddrInvalidCount > 0) {
    throw ebusy(`${iommu.vaddrInvalidCount} mappings have no valid vaddr`);
  }
}
