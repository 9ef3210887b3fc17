/**
 * vfio_pin_pages and vfio_unpin_pages, by which drivers of mediated devices pin single iova pages
 * (MDV-1…4, VAD-3, VAD-4).
 */
import { eacces, einval, enodev, eperm } from '../../../../platform/errno.ts';
import { hex } from '../../../../platform/hex.ts';
import type { Sliced } from '../../../../platform/slices.ts';
import { overflow } from '../../core/profile.ts';
import { IOMMU_WRITE } from '../../driver/domain.ts';
import type { PinRequest } from '../container-iommu.ts';
import { charge, mmOf, uncharge } from './accounting.ts';
import { bitOf } from './dirty.ts';
import type { DmaEntry } from './dma-entry.ts';
import { IOVA_END } from './dma-tree.ts';
import { refuseInvalid, whenValid } from './vaddr.ts';
import type { VfioIommu } from './vfio-iommu.ts';

/**
 * Pins all pages or none, and returns their pfns. Sleeps while one of the vaddrs is invalid
 * (VAD-3).
 */
export async function pinPages(iommu: VfioIommu, request: PinRequest): Promise<readonly number[]> {
  const { vpn, nrPages } = request;
  if (!iommu.v2) throw eacces('pin_pages: not for TYPE1 version 1');
  if (vpn + nrPages > IOVA_END) throw overflow(iommu.profile, 'pin_pages: the range wraps');
  const pin = (): readonly number[] | Promise<readonly number[]> => {
    if (iommu.listeners.size === 0) throw einval('pin_pages: nobody would hear of an unmap'); // VAD-4
    return iommu.lock.run(pinRange(iommu, request));
  };
  return whenValid(iommu, request.killed, () => hasInvalid(iommu, request), pin);
}

/**
 * Whether the range has an invalid vaddr. VAD-3: all vaddrs of the range must be valid at one
 * moment, and nothing drops the lock after that moment.
 */
function hasInvalid(iommu: VfioIommu, { vpn, nrPages }: PinRequest): boolean {
  if (iommu.vaddrInvalidCount === 0) return false;
  refuseInvalid(iommu);
  for (let page = vpn; page < vpn + nrPages; page++) {
    const entry = iommu.findUser(page);
    if (!entry) throw einval(`pin_pages: no mapping at iova page ${hex(page)}`);
    if (entry.vaddrInvalid) return true;
  }
  return false;
}

/**
 * Drivers' pins are charged only without an IOMMU domain: a domain's entries charge these pages
 * already (MDV-3).
 */
const doesAccounting = (iommu: VfioIommu): boolean => iommu.domains.length === 0;

function* pinRange(iommu: VfioIommu, request: PinRequest): Sliced<readonly number[]> {
  const { group, vpn, nrPages, prot } = request;
  const pfns: number[] = [];
  try {
    while (pfns.length < nrPages) {
      pfns.push(...(yield* pinSome(iommu, vpn + pfns.length, nrPages - pfns.length, prot)));
      yield;
    }
  } catch (error) {
    unpinRange(iommu, vpn, pfns.length);
    throw error;
  }
  // DRT-6
  const attached = iommu.findGroup(group);
  if (attached && !attached.pinnedPageDirtyScope) {
    attached.pinnedPageDirtyScope = true;
    iommu.nrNonPinnedGroups--;
  }
  return pfns;
}

/**
 * Pins pages from vpn on in one step, at most nrPages: one page that is pinned already, or a run of
 * pages that are not. Returns their pfns.
 */
function* pinSome(iommu: VfioIommu, vpn: number, nrPages: number, prot: number): Sliced<readonly number[]> {
  const entry = iommu.findUser(vpn);
  if (!entry) throw einval(`pin_pages: no mapping at iova page ${hex(vpn)}`);
  if ((entry.prot & prot) !== prot) throw eperm(`pin_pages: iova page ${hex(vpn)} does not allow that`);
  entry.externalPins ??= new Map();
  const pins = entry.externalPins;
  const known = pins.get(vpn);
  if (known) {
    known.refs++;
    return [known.run.pfn];
  }
  const mm = mmOf(iommu, entry, undefined);
  if (!mm) throw enodev(`pin_pages: process ${entry.mapper.pid} has gone`);
  const most = Math.min(nrPages, entry.end - vpn);
  let count = 1;
  while (count < most && !pins.has(vpn + count)) count++;
  const write = (entry.prot & IOMMU_WRITE) !== 0;
  const run = yield* iommu.pinner.pin(mm, entry.vaddrPage + vpn - entry.vpn, count, write);
  iommu.peers.add(entry, run.device);
  try {
    // MDV-6
    if (run.reserved && iommu.profile.deviceMemoryPins === 'EINVAL') throw einval('pin_pages: memory of a device');
    if (doesAccounting(iommu) && !run.reserved) charge(iommu, entry, run.nrPages, undefined);
  } catch (error) {
    iommu.pinner.unpin(run);
    throw error;
  }
  for (const [i, page] of iommu.pinner.split(run).entries()) pins.set(vpn + i, { run: page, refs: 1 });
  if (entry.bitmap) {
    const first = bitOf(iommu, entry, vpn);
    entry.bitmap.set(first, bitOf(iommu, entry, vpn + run.nrPages - 1) - first + 1);
  }
  return Array.from({ length: run.nrPages }, (_, i) => run.pfn + i);
}

/**
 * MDV-4: unpins pages up to the first one that is in no mapping, and returns how many those were.
 * EINVAL when there are none.
 */
export function unpinPages(iommu: VfioIommu, vpn: number, nrPages: number): number {
  if (!iommu.v2) throw eacces('unpin_pages: not for TYPE1 version 1');
  if (nrPages <= 0) throw einval('unpin_pages: no pages');
  const done = unpinRange(iommu, vpn, nrPages);
  if (done === 0) throw einval(`unpin_pages: no mapping at iova page ${hex(vpn)}`);
  return done;
}

/**
 * Unpins entry by entry, up to the first page that is in no entry. Returns how many pages those
 * were.
 */
function unpinRange(iommu: VfioIommu, vpn: number, nrPages: number): number {
  let done = 0;
  while (done < nrPages) {
    const entry = iommu.findUser(vpn + done);
    if (!entry) break;
    const count = Math.min(nrPages - done, entry.end - vpn - done);
    unpinInEntry(iommu, entry, vpn + done, count);
    done += count;
  }
  return done;
}

/**
 * Leaves a page alone that is not pinned. The dirty bit of a page stays until it is reported
 * (DRT-7).
 */
function unpinInEntry(iommu: VfioIommu, entry: DmaEntry, vpn: number, nrPages: number): void {
  let uncharged = 0;
  for (let page = vpn; page < vpn + nrPages; page++) {
    const pin = entry.externalPins?.get(page);
    if (!pin || --pin.refs > 0) continue;
    entry.externalPins?.delete(page);
    iommu.pinner.unpin(pin.run);
    if (!pin.run.reserved) uncharged++;
  }
  if (doesAccounting(iommu)) uncharge(iommu, entry, uncharged, undefined);
}
