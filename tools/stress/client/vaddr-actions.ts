/**
 * The life of vaddrs: UNMAP_DMA(VADDR), and MAP_DMA(VADDR) of memory that is mapped at another
 * place by now (MAP-6, UNM-10).
 */
import {
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_VADDR,
} from '../../../iommu/abi/vfio.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { NR_GUARDED_PAGES } from './assignment.ts';
import type { Answer } from './caller.ts';
import { type Entry, pagesOf } from './mapping-table.ts';
import type { Session } from './session.ts';
import { mapView, unmapView } from './views.ts';

const MOST_VIEWS = 4;

export function invalidateSomething(session: Session): void {
  const entry = session.random.pick(session.table.entries);
  if (entry) invalidate(session, entry);
}

export function invalidate(session: Session, entry: Entry): void {
  const { vpn, nrPages } = entry;
  invalidateRange(session, { vpn, nrPages, flags: VFIO_DMA_UNMAP_FLAG_VADDR }, [entry]);
}

/**
 * Makes all vaddrs invalid, as a VMM does before it execs. In a shared container this is done one
 * entry at a time.
 */
export function invalidateAll(session: Session): void {
  const { table, shared } = session;
  if (!shared) {
    const flags = VFIO_DMA_UNMAP_FLAG_VADDR | VFIO_DMA_UNMAP_FLAG_ALL;
    invalidateRange(session, { vpn: 0, nrPages: 0, flags }, table.entries);
    return;
  }
  for (const entry of table.entries) {
    if (!entry.invalid) invalidate(session, entry);
  }
}

/**
 * Makes the vaddrs of a range invalid. If one of them is invalid already, the answer is -EINVAL and
 * nothing changes.
 */
function invalidateRange(
  { container, log }: Session,
  range: { readonly vpn: number; readonly nrPages: number; readonly flags: number },
  entries: readonly Entry[],
): void {
  const refused = entries.some(({ invalid }) => invalid);
  container.unmap(range, [refused ? 'EINVAL' : pagesOf(entries)]);
  if (refused) return;
  for (const entry of entries) entry.invalid = true;
  log.count('vaddrUpdates', entries.length);
}

export function revalidateSomething(session: Session): void {
  const { random, table } = session;
  const entry = random.pick(table.entries.filter(({ invalid }) => invalid));
  if (entry) revalidate(session, entry);
}

export function revalidateAll(session: Session): void {
  for (const entry of session.table.entries) if (entry.invalid) revalidate(session, entry);
}

/** Returns the answer, which may be one of `others`, too. */
export function revalidate(
  { random, views, container, accounting, log }: Session,
  entry: Entry,
  others: readonly Answer[] = [],
): Answer {
  const { page, nrPages } = entry;
  const view =
    page === undefined ? mapView(undefined, nrPages, true) : random.pick(views.filter((one) => one.writable))!;
  const vaddr = view.vaddr + (page ?? 0) * PAGE_SIZE;
  const expected = accounting.answerToUpdate(entry);
  const answer = container.map({ ...entry, vaddr, flags: VFIO_DMA_MAP_FLAG_VADDR }, [expected, ...others]);
  if (answer !== 0) return answer;
  entry.invalid = false;
  entry.vaddr = vaddr;
  accounting.updated(entry);
  log.count('vaddrUpdates');
  return 0;
}

/**
 * As revalidateAll, where a process that is dead now may have made some of the vaddrs valid. A
 * kernel of 5.12–5.19 lets only the mapper's process invalidate them (UNM-9): there they stay.
 */
export function retakeAll(session: Session): void {
  const { table, container, profile } = session;
  for (const entry of table.entries) {
    if (!entry.invalid || revalidate(session, entry, ['EINVAL']) !== 'EINVAL') continue;
    const { vpn, nrPages } = entry;
    const unmapped = profile.unmapOfOtherMm === 'stops' ? 0 : nrPages;
    container.unmap({ vpn, nrPages, flags: VFIO_DMA_UNMAP_FLAG_VADDR }, [unmapped]);
    if (unmapped === 0) entry.invalid = false;
    else revalidate(session, entry);
  }
}

/**
 * Tries MAP VADDR where it is refused: on a valid entry, with another size, and where nothing is
 * mapped.
 */
export function revalidateWrongly({ random, table, views, container }: Session): void {
  const entry = random.pick(table.entries);
  if (!entry) return;
  const vaddr = views[0]!.vaddr;
  const flags = VFIO_DMA_MAP_FLAG_VADDR;
  const { vpn, nrPages } = entry;
  if (!entry.invalid) container.map({ vpn, nrPages, vaddr, flags }, ['EINVAL']);
  else if (nrPages > 1) container.map({ vpn, nrPages: nrPages - 1, vaddr, flags }, ['EINVAL']);
  if (vpn > 0 && !table.at(vpn - 1)) container.map({ vpn: vpn - 1, nrPages: 1, vaddr, flags }, ['ENOENT']);
}

/** Maps the memory once more, or removes one view. Pinned pages do not depend on views. */
export function changeViews(session: Session): void {
  const { random, views } = session;
  if (views.length > 1 && (views.length >= MOST_VIEWS || random.chance(0.5))) {
    const [view] = views.splice(random.below(views.length), 1);
    unmapView(view!, NR_GUARDED_PAGES);
    if (views.some(({ writable }) => writable)) return;
  }
  const writable = !views.some((view) => view.writable) || random.chance(0.7);
  views.push(mapView(session.memory.fd, NR_GUARDED_PAGES, writable));
}
