/** VFIO_IOMMU_UNMAP_DMA (UNM-1…16). */
import { ebusy, einval } from '../../../../platform/errno.ts';
import { hex, hexRange } from '../../../../platform/hex.ts';
import type { Sliced } from '../../../../platform/slices.ts';
import {
  Bitmap,
  DmaUnmap,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_DMA_UNMAP_FLAG_VADDR,
} from '../../../abi/vfio.ts';
import { overflow } from '../../core/profile.ts';
import type { Task } from '../../core/task.ts';
import { U64_END, type UserArg } from '../../core/user-arg.ts';
import { mmOf } from './accounting.ts';
import { checkBitmap, reportEntry, type UserBitmap } from './dirty.ts';
import type { DmaEntry } from './dma-entry.ts';
import { DeferredUnpin, removeEntry } from './pin-map.ts';
import { invalidate, revalidate } from './vaddr.ts';
import type { VfioIommu } from './vfio-iommu.ts';

const FLAGS = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP | VFIO_DMA_UNMAP_FLAG_ALL | VFIO_DMA_UNMAP_FLAG_VADDR;
/** After so many rounds a driver that was asked to unpin and has not is a kernel BUG (RACE-21). */
const MAX_RETRIES = 10;

interface Request {
  readonly all: boolean;
  readonly vaddr: boolean;
  readonly vpn: number;
  readonly end: number;
  /** GET_DIRTY_BITMAP: the bits of removed entries go to this bitmap. */
  readonly bitmap: UserBitmap | undefined;
}

/** The progress of one call so far. It survives the restarts of UNM-11. */
interface Progress {
  unmappedPages: number;
  started: boolean;
}

/**
 * Unmaps a range, or invalidates its vaddrs. The number of bytes removed or invalidated goes back
 * to the caller's struct. Returns a promise while drivers of mediated devices unpin, and for many
 * entries.
 */
export function unmapDma(iommu: VfioIommu, arg: UserArg, task: Task): void | Promise<void> {
  const request = checkRequest(iommu, arg);
  const progress: Progress = { unmappedPages: 0, started: false };
  const finish = (): void => {
    // UNM-13
    arg.update(DmaUnmap, { size: BigInt.asUintN(64, BigInt(progress.unmappedPages) << 12n) });
  };
  const sleeping = untilUnpinned(iommu, () => walk(iommu, request, progress, task), task);
  return sleeping ? sleeping.then(finish) : finish();
}

/** UNM-1…5, in the kernel's order. */
function checkRequest(iommu: VfioIommu, arg: UserArg): Request {
  const { argsz, flags, iova, size } = arg.read(DmaUnmap);
  const all = (flags & VFIO_DMA_UNMAP_FLAG_ALL) !== 0;
  const vaddr = (flags & VFIO_DMA_UNMAP_FLAG_VADDR) !== 0;
  const getDirty = (flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) !== 0;
  if (argsz < DmaUnmap.size || (flags & ~FLAGS) !== 0) throw einval('UNMAP_DMA: bad argsz or flags');
  if (getDirty && (all || vaddr)) throw einval('UNMAP_DMA: GET_DIRTY_BITMAP with ALL or VADDR');
  const bitmap = getDirty ? readBitmap(arg, argsz, size) : undefined;

  if (vaddr && iommu.profile.invalidVaddr === 'refused' && iommu.emulatedGroups.length > 0) {
    throw ebusy('UNMAP_DMA VADDR: a mediated device is attached'); // UNM-3
  }
  const mask = iommu.pgsize - 1n;
  if ((iova & mask) !== 0n) throw einval(`UNMAP_DMA: iova ${hex(iova)} is not page aligned`);
  if (all) {
    if (iova !== 0n || size !== 0n) throw einval('UNMAP_DMA ALL: iova and size must be 0');
  } else {
    if (size === 0n || (size & mask) !== 0n) throw einval(`UNMAP_DMA: size ${hex(size)} is not page aligned`);
    if (iova + size > U64_END) throw overflow(iommu.profile, `UNMAP_DMA: ${hexRange(iova, size)} wraps`);
  }
  if (bitmap && (!iommu.dirtyPageTracking || bitmap.pgsize !== iommu.pgsize)) {
    // UNM-5
    throw einval('UNMAP_DMA GET_DIRTY_BITMAP: tracking is off, or not the smallest page size');
  }
  const end = all ? U64_END : iova + size;
  return { all, vaddr, vpn: Number(iova >> 12n), end: Number(end >> 12n), bitmap };
}

/** UNM-2 */
function readBitmap(arg: UserArg, argsz: number, size: bigint): UserBitmap {
  if (argsz < DmaUnmap.size + Bitmap.size)
    throw einval('UNMAP_DMA GET_DIRTY_BITMAP: argsz leaves no room for the bitmap');
  const { pgsize, size: bytes, data } = arg.read(Bitmap, DmaUnmap.size);
  const bitmap = { pgsize, bytes, data };
  checkBitmap(bitmap, size);
  return bitmap;
}

/**
 * The label `again:` of vfio_dma_do_unmap. `walk` returns the first entry that has to be unpinned
 * by drivers first, and is started again until there is none. The lock is dropped while drivers
 * unpin.
 */
export function untilUnpinned(
  iommu: VfioIommu,
  walk: () => Sliced<DmaEntry | undefined>,
  task: Task | undefined,
): void | Promise<void> {
  let retried: DmaEntry | undefined;
  let retries = 0;
  const unlocked = (pinned: DmaEntry | undefined): void | Promise<void> => {
    if (!pinned) return;
    retries = pinned === retried ? retries + 1 : 0;
    retried = pinned;
    if (retries > MAX_RETRIES) throw new Error(`BUG: drivers do not unpin iova page ${hex(pinned.vpn)}`);
    const unpinning = notifyUnmap(iommu, pinned);
    return unpinning ? unpinning.then(() => iommu.lock.enter(again)) : iommu.lock.enter(again);
  };
  const again = (): void | Promise<void> => {
    const pinned = iommu.lock.run(walk(), task);
    return pinned instanceof Promise ? pinned.then(unlocked) : unlocked(pinned);
  };
  return again();
}

/**
 * Walks the range up to the first entry of which drivers have pinned pages, and returns that entry.
 */
function* walk(iommu: VfioIommu, request: Request, progress: Progress, task: Task): Sliced<DmaEntry | undefined> {
  if (iommu.v2 && !request.all && bisects(iommu, request)) {
    // UNM-11: somebody mapped meanwhile; what is done is done
    if (progress.started) return undefined;
    throw einval('UNMAP_DMA: the range splits a mapping');
  }
  progress.started = true;
  if (request.vaddr) return invalidateRange(iommu, request, progress, task);
  const unpin = new DeferredUnpin(iommu);
  try {
    return yield* removeRange(iommu, request, progress, { task, unpin });
  } finally {
    yield* unpin.flush();
  }
}

/** UNM-6: an entry straddles the start or the end of the range. */
function bisects(iommu: VfioIommu, { vpn, end }: Request): boolean {
  const first = iommu.findUser(vpn);
  if (first && first.vpn !== vpn) return true;
  const last = iommu.findUser(end - 1);
  return last !== undefined && last.end !== end;
}

/** Yields the entries that the walk meets, in order. */
function* selected(iommu: VfioIommu, { all, vpn, end }: Request, task: Task): Generator<DmaEntry, void> {
  for (const entry of all ? iommu.withinAll() : iommu.within(vpn, end)) {
    if (entry.type !== 'user') continue; // RSV-5
    if (!iommu.v2 && vpn > entry.vpn) return; // UNM-7
    // UNM-9: somebody else's mapping ends the walk.
    if (iommu.profile.unmapOfOtherMm === 'stops' && mmOf(iommu, entry, task) !== task.mm) return;
    yield entry;
  }
}

/** UNM-10 */
function invalidateRange(iommu: VfioIommu, request: Request, progress: Progress, task: Task): undefined {
  const done: DmaEntry[] = [];
  for (const entry of selected(iommu, request, task)) {
    if (entry.vaddrInvalid) {
      for (const mine of done) revalidate(iommu, mine);
      throw einval(`UNMAP_DMA VADDR: iova page ${hex(entry.vpn)} is invalid already`);
    }
    invalidate(iommu, entry);
    done.push(entry);
    progress.unmappedPages += entry.nrPages;
  }
  return undefined;
}

/** Removes entries up to the first of which drivers have pinned pages, and returns that entry. */
function* removeRange(
  iommu: VfioIommu,
  request: Request,
  progress: Progress,
  { task, unpin }: { readonly task: Task; readonly unpin: DeferredUnpin },
): Sliced<DmaEntry | undefined> {
  for (const entry of selected(iommu, request, task)) {
    if (entry.hasExternalPins) return entry;
    // UNM-12
    if (request.bitmap) reportEntry(iommu, entry, { bitmap: request.bitmap, baseVpn: request.vpn, mm: task.mm });
    progress.unmappedPages += entry.nrPages;
    yield* removeEntry(iommu, entry, unpin, task);
  }
  return undefined;
}

/** UNM-11: asks every driver to unpin all its pages of the entry. */
function notifyUnmap(iommu: VfioIommu, entry: DmaEntry): Promise<unknown> | undefined {
  const answers = [...iommu.listeners].map((listener) => listener.dmaUnmap(entry.vpn, entry.nrPages));
  return answers.some((answer) => answer !== undefined) ? Promise.all(answers) : undefined;
}
