/** VFIO_IOMMU_DIRTY_PAGES and the reports of dirty bits (DRT-1…7). */
import { eacces, einval, enomem } from '../../../../platform/errno.ts';
import { hexRange } from '../../../../platform/hex.ts';
import type { Sliced } from '../../../../platform/slices.ts';
import {
  DirtyBitmap as DirtyBitmapArg,
  DirtyBitmapGet,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
} from '../../../abi/vfio.ts';
import { overflow } from '../../core/profile.ts';
import type { Mm, Task } from '../../core/task.ts';
import { U64_END, type UserArg } from '../../core/user-arg.ts';
import { DirtyBitmap } from './dirty-bitmap.ts';
import type { DmaEntry } from './dma-entry.ts';
import { accessOk, copyFromUser, copyToUser } from './user-memory.ts';
import type { VfioIommu } from './vfio-iommu.ts';

/** DIRTY_BITMAP_PAGES_MAX and DIRTY_BITMAP_SIZE_MAX (NUM-9). */
const MAX_PAGES = 2 ** 31 - 1;
export const MAX_BITMAP_BYTES = 1n << 28n;

/**
 * A struct vfio_bitmap: one bit per page of `pgsize` bytes, `bytes` long, at vaddr `data` of the
 * caller.
 */
export interface UserBitmap {
  readonly pgsize: bigint;
  readonly bytes: bigint;
  readonly data: bigint;
}

/**
 * Switches tracking on or off, or reports. The caller has the lock. Returns a promise for many
 * entries.
 */
export function dirtyPages(iommu: VfioIommu, arg: UserArg, task: Task): number | Promise<number> {
  // DRT-1
  if (!iommu.v2) throw eacces('DIRTY_PAGES: not for TYPE1 version 1');
  const { argsz, flags } = arg.read(DirtyBitmapArg);
  if (argsz < DirtyBitmapArg.size) throw einval('DIRTY_PAGES: bad argsz');
  switch (flags) {
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_START:
      return iommu.lock.run(start(iommu), task);
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP:
      stop(iommu);
      return 0;
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP:
      return iommu.lock.run(getBitmap(iommu, arg, argsz, task.mm), task);
    default:
      throw einval('DIRTY_PAGES: not exactly one known flag');
  }
}

/** DRT-2. Returns the result of the ioctl. */
function* start(iommu: VfioIommu): Sliced<number> {
  if (iommu.dirtyPageTracking) return 0;
  try {
    for (const entry of iommu.entries()) {
      if (entry.type === 'user') allocateBitmap(iommu, entry);
      yield;
    }
  } catch (error) {
    for (const entry of iommu.entries()) entry.bitmap = undefined;
    throw error;
  }
  iommu.dirtyPageTracking = true;
  return 0;
}

function stop(iommu: VfioIommu): void {
  if (!iommu.dirtyPageTracking) return;
  iommu.dirtyPageTracking = false;
  for (const entry of iommu.entries()) entry.bitmap = undefined;
}

/**
 * MAP-14, DRT-2: gives the entry a bitmap in which the pages that drivers have pinned now are set.
 */
export function allocateBitmap(iommu: VfioIommu, entry: DmaEntry): void {
  const nrBits = entry.nrPages / iommu.pgsizePages;
  if (nrBits > MAX_PAGES) throw einval(`mapping of ${entry.nrPages} pages is too large for a dirty bitmap`);
  try {
    entry.bitmap = new DirtyBitmap(nrBits);
  } catch (error) {
    if (error instanceof RangeError) throw enomem('no memory for a dirty bitmap');
    throw error;
  }
  markPinned(iommu, entry);
}

/** vfio_dma_populate_bitmap */
function markPinned(iommu: VfioIommu, entry: DmaEntry): void {
  for (const vpn of entry.externalPins?.keys() ?? []) entry.bitmap?.set(bitOf(iommu, entry, vpn));
}

/** The bit of an iova page in its entry's bitmap. */
export const bitOf = (iommu: VfioIommu, entry: DmaEntry, vpn: number): number =>
  Math.floor((vpn - entry.vpn) / iommu.pgsizePages);

/** ATT-9: a group has left, and it may have written to any page. */
export function* markAllDirty(iommu: VfioIommu): Sliced<void> {
  for (const entry of iommu.entries()) {
    entry.bitmap?.setAll();
    yield;
  }
}

/** DRT-3. Returns the result of the ioctl. */
function* getBitmap(iommu: VfioIommu, arg: UserArg, argsz: number, mm: Mm): Sliced<number> {
  if (argsz - DirtyBitmapArg.size < DirtyBitmapGet.size) throw einval('DIRTY_PAGES GET_BITMAP: bad argsz');
  const range = arg.read(DirtyBitmapGet, DirtyBitmapArg.size);
  const { iova, size } = range;
  const bitmap = { pgsize: range['bitmap.pgsize'], bytes: range['bitmap.size'], data: range['bitmap.data'] };
  const limit = iommu.profile.lastPage === 'broken' ? U64_END - 1n : U64_END;
  if (iova + size > limit) throw overflow(iommu.profile, `DIRTY_PAGES GET_BITMAP: ${hexRange(iova, size)} wraps`);
  checkBitmap(bitmap, size);
  const mask = iommu.pgsize - 1n;
  if (bitmap.pgsize !== iommu.pgsize) throw einval('DIRTY_PAGES GET_BITMAP: not the smallest page size');
  if (size === 0n || ((iova | size) & mask) !== 0n) {
    throw einval(`DIRTY_PAGES GET_BITMAP: ${hexRange(iova, size)} is not page aligned`);
  }
  if (!iommu.dirtyPageTracking) throw einval('DIRTY_PAGES GET_BITMAP: tracking is off');
  yield* reportRange(iommu, Number(iova >> 12n), Number((iova + size) >> 12n), { bitmap, mm });
  return 0;
}

/** UNM-2, DRT-3: tests pointer and size of a bitmap for `size` bytes of iova. */
export function checkBitmap({ pgsize, bytes, data }: UserBitmap, size: bigint): void {
  if (!accessOk(data, bytes)) throw einval('dirty bitmap is not in user space');
  // __ffs(0) is 64 on x86 with tzcnt, and a shift by 64 is one by 0.
  const nrBits = pgsize === 0n ? size : size / (pgsize & -pgsize);
  if (nrBits === 0n || bytes === 0n || bytes > MAX_BITMAP_BYTES || bytes < ((nrBits + 63n) / 64n) * 8n) {
    throw einval(`dirty bitmap of ${bytes} bytes does not fit ${nrBits} pages`);
  }
}

/** DRT-4 */
function* reportRange(
  iommu: VfioIommu,
  vpn: number,
  end: number,
  { bitmap, mm }: { readonly bitmap: UserBitmap; readonly mm: Mm },
): Sliced<void> {
  const first = iommu.findUser(vpn);
  const last = iommu.findUser(end - 1);
  if ((first && first.vpn !== vpn) || (last && last.end !== end)) {
    throw einval('DIRTY_PAGES GET_BITMAP: the range splits a mapping');
  }
  for (const entry of iommu.entries()) {
    if (entry.vpn < vpn) continue;
    if (entry.vpn >= end) break;
    if (entry.type !== 'user') continue;
    reportEntry(iommu, entry, { bitmap, baseVpn: vpn, mm });
    entry.bitmap?.clearAll();
    markPinned(iommu, entry);
    yield;
  }
}

/**
 * update_user_bitmap (DRT-5): writes the bits of one entry, in whole u64 words; bit 0 of the user's
 * bitmap is page baseVpn. If the entry does not start on a word, the user's word is read and merged
 * first, in the entry's own bitmap.
 */
export function reportEntry(
  iommu: VfioIommu,
  entry: DmaEntry,
  { bitmap, baseVpn, mm }: { readonly bitmap: UserBitmap; readonly baseVpn: number; readonly mm: Mm },
): void {
  const bits = entry.bitmap!; // tracking is on
  const bitOffset = (entry.vpn - baseVpn) / iommu.pgsizePages;
  const shift = bitOffset % 64;
  const at = Number(bitmap.data) + ((bitOffset - shift) / 64) * 8;
  if (iommu.nrNonPinnedGroups > 0 && entry.iommuMapped) bits.setAll();
  if (shift > 0) {
    bits.shiftLeft(shift);
    const word = new Uint8Array(8);
    copyFromUser(mm, at, word);
    bits.orFirstWord(word);
  }
  copyToUser(mm, at, bits.bytes(shift));
}
