/**
 * MAP_DMA and UNMAP_DMA at random, with the answer known beforehand (MAP-1…9, UNM-1…13). Pages that
 * are no longer mapped are guarded again.
 */
import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
} from '../../../iommu/abi/vfio.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { NR_GUARDED_PAGES } from './assignment.ts';
import type { Answer } from './caller.ts';
import { allDirty } from './dirty-actions.ts';
import { type Entry, endOf, pagesOf } from './mapping-table.ts';
import type { Session } from './session.ts';
import { HOLE_PAGES, mapView } from './views.ts';

const HUGE_PAGES = 512;
/** The largest ballast: private memory that is mapped, counted and charged, but never checked. */
const MAX_BALLAST_PAGES = 8;

interface Plan {
  readonly entry: Entry;
  /**
   * The last pages of the range lie behind the end of the memory. MAP_DMA answers -EFAULT after it
   * has mapped the first pages for a moment.
   */
  readonly overruns: boolean;
}

/** A random range, for a new mapping or as a guess. */
function someRange(session: Session): { readonly vpn: number; readonly nrPages: number } {
  const { random, shared, table, validIova } = session;
  const { firstVpn, endVpn } = session.assignment.window;
  const nrPages = random.weighted([
    [6, random.between(1, 8)],
    [3, random.between(8, 64)],
    [1, HUGE_PAGES],
  ]);
  const place = random.weighted<'window' | 'beside' | 'edge'>([
    [7, 'window'],
    [2, 'beside'],
    [shared ? 0 : 1, 'edge'],
  ]);
  const beside = random.pick(table.entries);
  if (place === 'beside' && beside && endOf(beside) + nrPages <= endVpn) return { vpn: endOf(beside), nrPages };
  const span = random.pick(validIova);
  if (place === 'edge' && span) {
    const edge = random.chance(0.5) ? span.firstVpn : span.endVpn - nrPages;
    return { vpn: Math.max(0, edge + random.between(-2, 2)), nrPages };
  }
  const vpn = random.between(firstVpn, endVpn - nrPages);
  return { vpn: nrPages === HUGE_PAGES && random.chance(0.5) ? vpn - (vpn % HUGE_PAGES) : vpn, nrPages };
}

function planMap(session: Session): Plan {
  const { random, image } = session;
  const range = someRange(session);
  const [read, write] = random.weighted([
    [7, [true, true]],
    [1, [true, false]],
    [2, [false, true]],
  ] as const);
  const rights = { read, write, invalid: false, image };
  if (range.nrPages <= MAX_BALLAST_PAGES && random.chance(0.08)) {
    const { vaddr } = mapView(undefined, range.nrPages, true);
    return { entry: { ...range, ...rights, page: undefined, vaddr }, overruns: false };
  }
  const overruns = range.nrPages <= HOLE_PAGES && random.chance(0.04);
  const lastPage = NR_GUARDED_PAGES - range.nrPages;
  const page = overruns ? lastPage + random.between(1, range.nrPages) : random.below(lastPage + 1);
  const aligned = range.nrPages === HUGE_PAGES && random.chance(0.5) ? page - (page % HUGE_PAGES) : page;
  const { vaddr } = random.pick(session.views)!;
  return { entry: { ...range, ...rights, page: aligned, vaddr: vaddr + aligned * PAGE_SIZE }, overruns };
}

/** Possible answers to MAP_DMA, in the kernel's order of checks: MAP-7, 8, 9, 13. */
function answersToMap(session: Session, { entry, overruns }: Plan): readonly Answer[] {
  const { table, validIova, assignment, views, accounting } = session;
  const { vpn, nrPages, page, vaddr, write } = entry;
  if (table.overlapping(vpn, vpn + nrPages).length > 0) return ['EEXIST'];
  const limited: Answer[] = session.shared ? ['ENOSPC'] : []; // the partner uses up entries, too
  if (table.entries.length >= assignment.entryLimit) return ['ENOSPC'];
  const isValid = validIova.some((span) => vpn >= span.firstVpn && vpn + nrPages <= span.endVpn);
  if (!isValid) return ['EINVAL', ...limited];
  const view = views.find((one) => page !== undefined && one.vaddr === vaddr - page * PAGE_SIZE);
  if (view && !view.writable && write) return ['EFAULT', ...limited];
  const charged = accounting.answerToMap(nrPages);
  if (overruns) return charged === 0 ? ['EFAULT', ...limited] : ['EFAULT', charged, ...limited];
  return [charged, ...limited];
}

const flagsOf = ({ read, write }: Entry): number =>
  (read ? VFIO_DMA_MAP_FLAG_READ : 0) | (write ? VFIO_DMA_MAP_FLAG_WRITE : 0);

export function mapSomething(session: Session): void {
  const { memory, table, container, accounting, log } = session;
  const plan = planMap(session);
  const { entry } = plan;
  const expected = answersToMap(session, plan);
  const first = entry.page ?? 0;
  const end = entry.page === undefined ? 0 : Math.min(first + entry.nrPages, memory.nrPages);
  log.count('pagesChecked', memory.check(first, end));
  const opens = entry.write && (expected.includes(0) || plan.overruns);
  if (opens) memory.open(first, end); // before the call: devices do not wait for its return
  const answer = container.map({ ...entry, flags: flagsOf(entry) }, expected);
  if (answer === 0) {
    table.add(entry);
    accounting.mapped(entry);
    log.count('maps');
  } else if (opens) {
    memory.close(first, end);
  }
}

export function unmapSomething(session: Session): void {
  const { random, table, v2, shared } = session;
  const entry = random.pick(table.entries);
  const kind = random.weighted<'one' | 'several' | 'part' | 'nothing' | 'all'>([
    [entry ? 30 : 0, 'one'],
    [entry && v2 ? 8 : 0, 'several'],
    [entry && v2 ? 4 : 0, 'part'],
    [v2 ? 2 : 0, 'nothing'],
    [shared ? 0 : 1, 'all'],
    [1, entry ? 'one' : 'nothing'],
  ]);
  if (kind === 'all') {
    unmapEntries(session, { vpn: 0, nrPages: 0, flags: VFIO_DMA_UNMAP_FLAG_ALL }, table.entries);
    return;
  }
  if (kind === 'nothing') {
    const range = someRange(session);
    if (table.overlapping(range.vpn, range.vpn + range.nrPages).length === 0) {
      unmapEntries(session, { ...range, flags: 0 }, []);
    }
    return;
  }
  const { vpn, nrPages } = entry!;
  if (kind === 'one') {
    unmapEntries(session, { vpn, nrPages, flags: 0 }, [entry!]);
    return;
  }
  // A range from the start of an entry over some more pages: whole entries, or one in part.
  const range = kind === 'part' ? { vpn, nrPages: random.between(1, nrPages + 16) } : severalFrom(session, entry!);
  if (table.isBisected(range.vpn, range.vpn + range.nrPages)) {
    session.container.unmap({ ...range, flags: 0 }, ['EINVAL']);
    return;
  }
  unmapEntries(session, { ...range, flags: 0 }, table.overlapping(range.vpn, range.vpn + range.nrPages));
}

/**
 * The range of an entry and some of those behind it, with the holes between them. It never leaves
 * the window of a shared container.
 */
function severalFrom({ random, table }: Session, first: Entry): { readonly vpn: number; readonly nrPages: number } {
  const from = table.entries.indexOf(first);
  const last = random.pick(table.entries.slice(from, from + 5))!;
  return { vpn: first.vpn, nrPages: endOf(last) - first.vpn };
}

interface Range {
  readonly vpn: number;
  readonly nrPages: number;
  readonly flags: number;
}

/** Unmaps a range that covers exactly `entries`. */
export function unmapEntries(session: Session, range: Range, entries: readonly Entry[]): void {
  const { memory, table, container, accounting, capture, log, random, dirtyTracking } = session;
  const gone = [...entries];
  const underRing = gone.filter((entry) => capture.touches(entry.vpn * PAGE_SIZE, endOf(entry) * PAGE_SIZE));
  const bits = dirtyTracking && range.flags === 0 && random.chance(0.3) ? allDirty.buffer(range.nrPages) : undefined;
  container.unmap({ ...range, ...(bits ? { bitmap: bits } : {}) }, [pagesOf(gone)]);
  if (bits) allDirty.check(bits, range.vpn, gone);
  log.count('unmaps');
  if (underRing.length > 0) capture.spoil();
  for (const entry of gone) {
    table.remove(entry);
    accounting.unmapped(entry);
    if (entry.write && entry.page !== undefined) memory.close(entry.page, entry.page + entry.nrPages);
  }
  if (underRing.length > 0) lookAgain(session, underRing);
}

/** Checks the pages of removed entries at once: a late write of a device comes soon. */
function lookAgain({ memory, log }: Session, entries: readonly Entry[]): void {
  for (const { page, nrPages } of entries) {
    if (page !== undefined) log.count('pagesChecked', memory.check(page, page + nrPages));
  }
}

/** Makes a call that is wrong whatever is mapped (MAP-2, MAP-3, UNM-4). */
export function badCall({ random, container, views }: Session): void {
  const vaddr = views[0]!.vaddr;
  const vpn = random.below(2 ** 20);
  random.pick([
    () => container.map({ vpn, nrPages: 1, vaddr, flags: 0 }, ['EINVAL']),
    () =>
      container.map({ vpn, nrPages: 1, vaddr, flags: VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_VADDR }, ['EINVAL']),
    () => container.map({ vpn, nrPages: 0, vaddr, flags: VFIO_DMA_MAP_FLAG_READ }, ['EINVAL']),
    () => container.map({ vpn, nrPages: 1, vaddr: vaddr + 1, flags: VFIO_DMA_MAP_FLAG_READ }, ['EINVAL']),
    () => container.map({ vpn, nrPages: 1, vaddr, flags: 1 << 7 }, ['EINVAL']),
    () => container.unmap({ vpn, nrPages: 0, flags: 0 }, ['EINVAL']),
    () => container.unmap({ vpn: vpn + 1, nrPages: 0, flags: VFIO_DMA_UNMAP_FLAG_ALL }, ['EINVAL']),
    () => container.unmap({ vpn, nrPages: 1, flags: 1 << 7 }, ['EINVAL']),
  ])!();
}
