/** VFIO_IOMMU_MAP_DMA (MAP-1…16). */
import { eexist, einval, enoent, enospc } from '../../../../platform/errno.ts';
import { hex, hexRange } from '../../../../platform/hex.ts';
import type { Sliced } from '../../../../platform/slices.ts';
import { VFIO_DMA_MAP_FLAG_LIVE_UPDATE } from '../../../abi/persistent-tables.ts';
import { VFIO_DMA_MAP_FLAG_RESERVED_MSI } from '../../../abi/reserved-msi.ts';
import { DmaMap, VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_VADDR, VFIO_DMA_MAP_FLAG_WRITE } from '../../../abi/vfio.ts';
import { overflow, type Profile } from '../../core/profile.ts';
import type { Task } from '../../core/task.ts';
import { U64_END, type UserArg } from '../../core/user-arg.ts';
import { IOMMU_READ, IOMMU_WRITE } from '../../driver/domain.ts';
import { allocateBitmap } from './dirty.ts';
import { DmaEntry } from './dma-entry.ts';
import { recordEntry } from './entry-records.ts';
import { donateMsiWindow, windowsOf } from './msi-window.ts';
import { checkLiveUpdate, checkUnclaimed, pinAndClaim } from './persistent.ts';
import { DeferredUnpin, pinAndMap, removeEntry } from './pin-map.ts';
import { updateVaddr } from './vaddr.ts';
import type { VfioIommu } from './vfio-iommu.ts';

const FLAGS = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE | VFIO_DMA_MAP_FLAG_VADDR;

interface Request {
  readonly argsz: number;
  readonly flags: number;
  readonly vaddr: bigint;
  readonly iova: bigint;
  readonly size: bigint;
}

/**
 * Maps a range, or updates a vaddr. The caller has the lock. Returns a promise when the work is
 * long, because it pins many mappings of the process. MAP VADDR is never long. It is the hot path
 * of a live update (up to 65 535 of them) and makes no generator.
 */
export function mapDma(iommu: VfioIommu, arg: UserArg, task: Task): number | Promise<number> {
  // MAP-1
  const request = arg.read(DmaMap);
  if (isDonation(iommu, request)) {
    donateMsiWindow(iommu, request.iova, request.size, task);
    return 0;
  }
  const known = iommu.persistence ? FLAGS | VFIO_DMA_MAP_FLAG_LIVE_UPDATE : FLAGS;
  if (request.argsz < DmaMap.size || (request.flags & ~known) !== 0) throw einval('MAP_DMA: bad argsz or flags');
  checkRequest(iommu, request);
  const live = (request.flags & VFIO_DMA_MAP_FLAG_LIVE_UPDATE) !== 0;

  const vpn = Number(request.iova >> 12n);
  const nrPages = Number(request.size >> 12n);
  const vaddrPage = Number(request.vaddr >> 12n);
  const overlap = iommu.find(vpn, nrPages); // MAP-5
  if ((request.flags & VFIO_DMA_MAP_FLAG_VADDR) !== 0) {
    updateEntry(iommu, overlap, { vpn, nrPages, vaddrPage }, task);
    return 0;
  }
  // MAP-7, MAP-8, MAP-9
  if (overlap) throw eexist(`iova ${hexRange(request.iova, request.size)} overlaps a mapping`);
  if (iommu.dmaAvail === 0) throw enospc('no mapping left of dma_entry_limit');
  if (!iommu.isValidIova(vpn, vpn + nrPages)) {
    throw einval(`iova ${hexRange(request.iova, request.size)} is not in a valid range`);
  }
  if (live) checkLiveUpdate(iommu);
  else checkUnclaimed(iommu, vpn, nrPages);
  const entry = new DmaEntry({ vpn, nrPages, vaddrPage, prot: protOf(request.flags), mapper: task });
  return iommu.lock.run(addEntry(iommu, entry, live, task), task);
}

/**
 * RSV-4: the flag alone selects that way. To a container that needs no window it is a flag that
 * nobody knows, as to the recorded kernels.
 */
function isDonation(iommu: VfioIommu, { argsz, flags }: Request): boolean {
  const known = FLAGS | VFIO_DMA_MAP_FLAG_RESERVED_MSI;
  if ((flags & VFIO_DMA_MAP_FLAG_RESERVED_MSI) === 0 || argsz < DmaMap.size) return false;
  return (flags & ~known) === 0 && (flags & VFIO_DMA_MAP_FLAG_VADDR) === 0 && windowsOf(iommu).length > 0;
}

/**
 * MAP-2…4, in the order of 5.12 and 6.12. In 7.2 the tests for size 0 and overflow come first
 * (MAP-16).
 */
function checkRequest(iommu: VfioIommu, request: Request): void {
  const { profile } = iommu;
  if (profile.mapTestsOverflowFirst) checkOverflow(request, profile);
  if (((request.flags & VFIO_DMA_MAP_FLAG_VADDR) !== 0) === (protOf(request.flags) !== 0)) {
    throw einval('MAP_DMA: not exactly one of READ|WRITE and VADDR');
  }
  const { vaddr, iova, size } = request;
  if (size === 0n || ((size | iova | vaddr) & (iommu.pgsize - 1n)) !== 0n) {
    throw einval(`MAP_DMA: iova ${hexRange(iova, size)} or vaddr ${hex(vaddr)} is not page aligned`);
  }
  if (!profile.mapTestsOverflowFirst) checkOverflow(request, profile);
}

function checkOverflow({ vaddr, iova, size }: Request, profile: Profile): void {
  if (size === 0n) throw einval('MAP_DMA: size is 0');
  if (iova + size > U64_END || vaddr + size > U64_END) {
    throw overflow(profile, `MAP_DMA: iova ${hexRange(iova, size)} or vaddr ${hex(vaddr)} wraps`);
  }
}

const protOf = (flags: number): number =>
  ((flags & VFIO_DMA_MAP_FLAG_READ) !== 0 ? IOMMU_READ : 0) |
  ((flags & VFIO_DMA_MAP_FLAG_WRITE) !== 0 ? IOMMU_WRITE : 0);

/** MAP-6 */
function updateEntry(
  iommu: VfioIommu,
  entry: DmaEntry | undefined,
  { vpn, nrPages, vaddrPage }: { readonly vpn: number; readonly nrPages: number; readonly vaddrPage: number },
  task: Task,
): void {
  if (!entry) throw enoent('MAP_DMA VADDR: no mapping there');
  if (!entry.vaddrInvalid || entry.vpn !== vpn || entry.nrPages !== nrPages) {
    throw einval('MAP_DMA VADDR: the mapping is valid, or has another range');
  }
  updateVaddr(iommu, entry, vaddrPage, task);
}

/** MAP-10…15. Returns the result of the ioctl. */
function* addEntry(iommu: VfioIommu, entry: DmaEntry, live: boolean, task: Task): Sliced<number> {
  try {
    // MAP-12: without an IOMMU domain nothing is pinned.
    if (iommu.domains.length > 0) yield* live ? pinAndClaim(iommu, entry, task) : pinAndMap(iommu, entry, task);
  } catch (error) {
    entry.mm.drop();
    throw error;
  }
  iommu.dmaAvail--;
  iommu.link(entry);
  try {
    if (iommu.dirtyPageTracking) allocateBitmap(iommu, entry); // MAP-14
    recordEntry(iommu, entry);
    entry.leavesTables = false; // from here on UNMAP_DMA removes its translations as any other's
    return 0;
  } catch (error) {
    const unpin = new DeferredUnpin(iommu);
    yield* removeEntry(iommu, entry, unpin, task);
    yield* unpin.flush();
    throw error;
  }
}
