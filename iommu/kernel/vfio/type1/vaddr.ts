/** Invalid vaddrs: between UNMAP_DMA(VADDR) and MAP_DMA(VADDR) an entry has pins and translations but no memory of a process. */
import { ebusy, einval } from '../../../../platform/errno.ts';
import type { Task } from '../../task.ts';
import { moveCharge } from './accounting.ts';
import type { DmaEntry } from './dma-entry.ts';
import type { Iommu } from './iommu.ts';

/** UNM-10: valid → invalid. */
export function invalidate(iommu: Iommu, entry: DmaEntry): void {
  entry.vaddrInvalid = true;
  iommu.vaddrInvalidCount++;
}

/** Undoes invalidate(). */
export function revalidate(iommu: Iommu, entry: DmaEntry): void {
  entry.vaddrInvalid = false;
  iommu.vaddrInvalidCount--;
}

/**
 * MAP-6: the same memory object is at another vaddr now; that it is the same nobody checks. From 6.3 on the charge goes with
 * it to the caller (ACC-6): ENOMEM leaves the entry invalid.
 */
export function updateVaddr(iommu: Iommu, entry: DmaEntry, vaddrPage: number, task: Task): void {
  if (iommu.profile.mapVaddrMovesCharge) moveCharge(entry, task);
  entry.vaddrPage = vaddrPage;
  revalidate(iommu, entry);
  iommu.waiters.wakeAll();
}

/** VAD-2: the entry over page vpn, once its vaddr is valid; EINVAL when there is none. `waited`: it had to sleep. */
export async function waitForValid(
  iommu: Iommu,
  vpn: number,
  killed: AbortSignal | undefined,
): Promise<{ readonly entry: DmaEntry; readonly waited: boolean }> {
  let waited = false;
  for (;;) {
    const entry = iommu.find(vpn, 1);
    if (!entry) throw einval(`no mapping at iova page 0x${vpn.toString(16)}`);
    if (!entry.vaddrInvalid) return { entry, waited };
    await iommu.waiters.sleep(() => iommu.containerOpen, killed);
    waited = true;
  }
}

/** VAD-8: sleeps until no vaddr is invalid. */
export async function waitForAllValid(iommu: Iommu, killed: AbortSignal | undefined): Promise<void> {
  while (iommu.vaddrInvalidCount > 0) await iommu.waiters.sleep(() => iommu.containerOpen, killed);
}

/** VAD-15: what may sleep in older kernels is refused in newer ones. */
export function refuseInvalid(iommu: Iommu): void {
  if (iommu.profile.invalidVaddr === 'refused' && iommu.vaddrInvalidCount > 0) {
    throw ebusy(`${iommu.vaddrInvalidCount} mappings have no valid vaddr`);
  }
}
