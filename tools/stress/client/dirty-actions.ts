/**
 * Dirty tracking of a container that the actor does not share. Every page that its devices can
 * reach is reported dirty, every time (DRT-2, DRT-4).
 */
import { hex } from '../../../platform/hex.ts';
import type { DirtyBits } from '../../../vmm/client/dma.ts';
import { Violation } from '../invariants.ts';
import { type Entry, endOf } from './mapping-table.ts';
import type { Session } from './session.ts';

export const allDirty = {
  /** A buffer for the kernel to write to. It is off the heap, so that it never moves. */
  buffer: (nrPages: number): DirtyBits => new Uint8Array(new SharedArrayBuffer(Math.ceil(nrPages / 64) * 8)),

  /** Bit i is page baseVpn + i. */
  check(bits: Uint8Array, baseVpn: number, entries: readonly Entry[]): void {
    for (const entry of entries) {
      for (let vpn = entry.vpn; vpn < endOf(entry); vpn++) {
        const bit = vpn - baseVpn;
        if (((bits[bit >>> 3]! >>> (bit & 7)) & 1) === 0) {
          throw new Violation('answer', `iova page ${hex(vpn)} is not reported dirty`);
        }
      }
    }
  },
};

export function trackDirtyPages(session: Session): void {
  const { random, container, v2, dirtyTracking, table, shared } = session;
  if (shared) return; // the partner starts and stops tracking, too
  const action = random.weighted<'start' | 'stop' | 'get'>([
    [dirtyTracking ? 1 : 3, 'start'],
    [1, 'stop'],
    [3, 'get'],
  ]);
  if (action !== 'get') {
    const expected = [v2 ? 0 : 'EACCES'];
    if (action === 'start') container.startDirtyTracking(expected);
    else container.stopDirtyTracking(expected);
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
