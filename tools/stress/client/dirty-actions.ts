/** Dirty tracking of a container that is the actor's own: what its devices could reach is dirty, every time (DRT-2, DRT-4). */
import { VFIO_IOMMU_DIRTY_PAGES_FLAG_START, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP } from '../../../iommu/abi/vfio.ts';
import { Violation } from '../invariants.ts';
import { type Entry, endOf } from './mapping-table.ts';
import type { Session } from './session.ts';

export const allDirty = {
  /** Where the kernel writes: off the heap, so that it stays where it is. */
  buffer: (nrPages: number): Uint8Array => new Uint8Array(new SharedArrayBuffer(Math.ceil(nrPages / 64) * 8)),

  /** Bit i is page baseVpn + i. */
  check(bits: Uint8Array, baseVpn: number, entries: readonly Entry[]): void {
    for (const entry of entries) {
      for (let vpn = entry.vpn; vpn < endOf(entry); vpn++) {
        const bit = vpn - baseVpn;
        if (((bits[bit >>> 3]! >>> (bit & 7)) & 1) === 0) {
          throw new Violation('answer', `iova page 0x${vpn.toString(16)} is not reported dirty`);
        }
      }
    }
  },
};

export function trackDirtyPages(session: Session): void {
  const { random, container, v2, dirtyTracking, table, shared } = session;
  if (shared) return; // the others start and stop it, too
  const action = random.weighted<'start' | 'stop' | 'get'>([
    [dirtyTracking ? 1 : 3, 'start'],
    [1, 'stop'],
    [3, 'get'],
  ]);
  if (action !== 'get') {
    const flag = action === 'start' ? VFIO_IOMMU_DIRTY_PAGES_FLAG_START : VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP;
    container.dirtyTracking(flag, [v2 ? 0 : 'EACCES']);
    session.dirtyTracking = v2 && action === 'start';
    return;
  }
  const entry = random.pick(table.entries);
  if (!entry) return;
  const bits = allDirty.buffer(entry.nrPages);
  const expected = v2 ? (dirtyTracking ? 0 : 'EINVAL') : 'EACCES';
  container.dirtyBitmap(entry.vpn, entry.nrPages, bits, [expected]);
  if (expected === 0) allDirty.check(bits, entry.vpn, [entry]);
}
