/**
 * vfio_dma_rw: the CPU reads or writes iovas for a mediated device, through the present vaddr
 * (MDV-5, VAD-5).
 */
import { efault, einval, eperm } from '../../../../platform/errno.ts';
import { hex } from '../../../../platform/hex.ts';
import { PAGE_SIZE } from '../../../../platform/page.ts';
import type { Mm, Task } from '../../core/task.ts';
import { IOMMU_READ, IOMMU_WRITE } from '../../driver/domain.ts';
import type { RwRequest } from '../container-iommu.ts';
import { mmOf } from './accounting.ts';
import { bitOf } from './dirty.ts';
import type { DmaEntry } from './dma-entry.ts';
import { IOVA_END } from './dma-tree.ts';
import { copyFromUser, copyToUser } from './user-memory.ts';
import { refuseInvalid, sleepOnVaddr } from './vaddr.ts';
import type { VfioIommu } from './vfio-iommu.ts';

/**
 * Copies entry by entry. Bytes copied before an error stay copied. Sleeps while the entry's vaddr
 * is invalid, and returns whether it slept; a promise only if it sleeps, or waits for the lock.
 */
// HOT: (`npm run bench`, mediated)
export function dmaRw(iommu: VfioIommu, request: RwRequest): boolean | Promise<boolean> {
  if (request.data.length === 0) throw einval('dma_rw: no bytes');
  return iommu.lock.enter(() => {
    refuseInvalid(iommu);
    return copyFrom(iommu, request, { done: 0, vpn: request.vpn, offset: request.offset, slept: false });
  });
}

/** How far an access has come. */
interface Progress {
  done: number;
  vpn: number;
  offset: number;
  slept: boolean;
}

function copyFrom(iommu: VfioIommu, request: RwRequest, progress: Progress): boolean | Promise<boolean> {
  const { data, caller, killed = caller?.killed } = request;
  while (progress.done < data.length) {
    const { done, vpn, offset } = progress;
    const entry = iommu.findUser(vpn);
    if (entry?.vaddrInvalid) {
      progress.slept = true;
      // VAD-2: from scratch
      return sleepOnVaddr(iommu, killed).then(() => iommu.lock.enter(() => copyFrom(iommu, request, progress)));
    }
    if (!entry) throw einval(`dma_rw: no mapping at iova page ${hex(vpn)}`);
    const inEntry = (entry.end - vpn) * PAGE_SIZE - offset;
    const part = data.subarray(done, done + inEntry);
    copyChunk(iommu, entry, { ...request, vpn, offset, data: part });
    progress.done += part.length;
    progress.vpn = entry.end % IOVA_END;
    progress.offset = 0;
  }
  return progress.slept;
}

function copyChunk(iommu: VfioIommu, entry: DmaEntry, request: RwRequest): void {
  const { vpn, offset, data, write, caller } = request;
  if ((entry.prot & IOMMU_READ) === 0 || (write && (entry.prot & IOMMU_WRITE) === 0)) {
    throw eperm(`dma_rw: iova page ${hex(vpn)} does not allow that`);
  }
  if (caller) copyIn(aliveMm(iommu, entry, caller), entry, request);
  else copyByDevice(iommu, entry, request);
  if (!write || !entry.bitmap) return;
  const first = bitOf(iommu, entry, vpn);
  const last = bitOf(iommu, entry, vpn + Math.floor((offset + data.length - 1) / PAGE_SIZE));
  entry.bitmap.set(first, last - first + 1);
}

/**
 * Nobody has told that the address space is alive, and to ask costs as much as all the rest of an
 * access. In a dead one the copy finds nothing: only then it is asked.
 */
function copyByDevice(iommu: VfioIommu, entry: DmaEntry, request: RwRequest): void {
  const { mm } = iommu.profile.chargedMm === 'of-mapping' ? entry : entry.mapper.process;
  try {
    copyIn(mm, entry, request);
  } catch (error) {
    if (mm.alive()) throw error;
    copyIn(aliveMm(iommu, entry, undefined), entry, request);
  }
}

/** EPERM: it is gone. EFAULT: it is not the caller's. */
function aliveMm(iommu: VfioIommu, entry: DmaEntry, caller: Task | undefined): Mm {
  const mm = mmOf(iommu, entry, caller);
  if (!mm) throw eperm(`dma_rw: process ${entry.mapper.pid} has gone`);
  if (caller && caller.mm !== mm) throw efault('dma_rw: not the address space of the mapping');
  return mm;
}

function copyIn(mm: Mm, entry: DmaEntry, { vpn, offset, data, write }: RwRequest): void {
  const vaddr = (entry.vaddrPage + vpn - entry.vpn) * PAGE_SIZE + offset;
  if (write) copyToUser(mm, vaddr, data);
  else copyFromUser(mm, vaddr, data);
}
