/**
 * DMA at random: copies by edu with every byte known beforehand, and moves of capture's ring
 * (invariants 1 and 2).
 */

import { hex } from '../../../platform/hex.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { EDU_BUFFER_BYTES } from '../../../vmm/client/drivers/edu.ts';
import { Violation } from '../invariants.ts';
import { EDU_END_VPN } from './copier.ts';
import { type Entry, pageBehind } from './mapping-table.ts';
import { checkFrame, type RingPlan, type RingWatch } from './ring-watch.ts';
import type { Session } from './session.ts';

/** The part of a transfer that lies in one page. */
interface Piece {
  readonly length: number;
  /** The mapping that the piece goes through; undefined when the access is refused. */
  readonly entry: Entry | undefined;
  /** Offset in the guarded memory, in bytes. */
  readonly at: number;
}

/** The pieces of [iova, iova+length), up to and including the first that is refused. */
function piecesOf(session: Session, iova: number, length: number, allowed: (entry: Entry) => boolean): Piece[] {
  const pieces: Piece[] = [];
  for (let done = 0; done < length; ) {
    const vpn = Math.floor((iova + done) / PAGE_SIZE);
    const offset = (iova + done) % PAGE_SIZE;
    const bytes = Math.min(PAGE_SIZE - offset, length - done);
    const found = session.table.at(vpn);
    const entry = found && allowed(found) ? found : undefined;
    const page = entry?.page === undefined ? Number.NaN : pageBehind(entry, vpn);
    pieces.push({ length: bytes, entry, at: page * PAGE_SIZE + offset });
    if (!entry) break;
    done += bytes;
  }
  return pieces;
}

/** Pages of the guarded memory that capture may write right now. */
export function ringPages({ capture: { ring }, table }: Session): ReadonlySet<number> {
  const pages = new Set<number>();
  if (!ring) return pages;
  const end = ring.iova + ring.frames * ring.frameSize;
  for (let vpn = Math.floor(ring.iova / PAGE_SIZE); vpn * PAGE_SIZE < end; vpn++) {
    const entry = table.at(vpn);
    if (entry?.write && entry.page !== undefined) pages.add(pageBehind(entry, vpn));
  }
  return pages;
}

/** A random iova, which most often lies in a mapping. */
function someIova(session: Session): number {
  const { random, table, assignment } = session;
  const { firstVpn, endVpn } = assignment.window;
  const entry = random.pick(table.entries);
  if (entry && entry.vpn + entry.nrPages < EDU_END_VPN && random.chance(0.9)) {
    return entry.vpn * PAGE_SIZE + random.below(entry.nrPages * PAGE_SIZE);
  }
  return random.between(firstVpn, endVpn - 2) * PAGE_SIZE + random.below(PAGE_SIZE);
}

export function copySomething(session: Session): void {
  const { random, edu, capture, memory, profile, log, eduFaults } = session;
  const length = random.between(1, EDU_BUFFER_BYTES);
  const source = someIova(session);
  const destination = someIova(session);
  const from = piecesOf(session, source, length, ({ read }) => read || profile.writeOnlyIsReadable);
  const to = piecesOf(session, destination, length, (entry) => entry.write);
  const refused = [...from, ...to].some(({ entry }) => entry === undefined);
  const ring = ringPages(session);
  const known = isKnown(ring, from, to);

  log.event(`copy ${hex(source)} to ${hex(destination)}, ${length} bytes`);
  log.count('operations');
  const expected = known ? prepare(session, from, to, length) : undefined;
  if (refused) eduFaults.mayFault = true;
  edu.copy({ source, destination, length, interrupts: random.chance(0.5) });
  if (guardedPages(to).some((page) => ring.has(page))) capture.overwritten();
  if (!expected) return;
  let done = 0;
  for (const { entry, at, length: bytes } of to) {
    if (!entry) break;
    checkBytes(memory.bytes, at, expected.subarray(done, done + bytes), destination + done);
    done += bytes;
  }
  log.count('transfers');
}

/** Pages of the guarded memory that the pieces touch. NaN stands for other memory. */
const guardedPages = (pieces: readonly Piece[]): number[] =>
  pieces.flatMap(({ entry, at }) => (entry ? [Math.floor(at / PAGE_SIZE)] : []));

/**
 * Whether the outcome of a copy is known: all bytes lie in the guarded memory, and capture, which
 * fills `ring`, does not write to them meanwhile.
 */
function isKnown(ring: ReadonlySet<number>, from: readonly Piece[], to: readonly Piece[]): boolean {
  const [sources, destinations] = [guardedPages(from), guardedPages(to)];
  const all = [...sources, ...destinations];
  if (all.some((page) => Number.isNaN(page) || ring.has(page))) return false;
  return new Set(destinations).size === destinations.length && !sources.some((page) => destinations.includes(page));
}

/**
 * Fills source and destination with known bytes. Returns the bytes that the destination must hold
 * after the copy.
 */
function prepare(session: Session, from: readonly Piece[], to: readonly Piece[], length: number): Uint8Array {
  const { memory, random } = session;
  const expected = new Uint8Array(length); // refused reads give zeros
  let done = 0;
  for (const { entry, at, length: bytes } of from) {
    if (!entry) break;
    if (!memory.isGuarded(Math.floor(at / PAGE_SIZE))) memory.bytes.set(random.bytes(bytes), at);
    expected.set(memory.bytes.subarray(at, at + bytes), done);
    done += bytes;
  }
  for (const { entry, at, length: bytes } of to) if (entry) memory.bytes.fill(random.next(), at, at + bytes);
  return expected;
}

function checkBytes(memory: Uint8Array, at: number, expected: Uint8Array, iova: number): void {
  for (let i = 0; i < expected.length; i++) {
    if (memory[at + i] === expected[i]) continue;
    const text = `${hex(memory[at + i]!)}, not ${hex(expected[i]!)}`;
    throw new Violation('2', `edu has copied to iova ${hex(iova)}, and there byte ${i} is ${text}`);
  }
}

/**
 * Starts capture in another place: most often wholly inside a mapping, sometimes beyond its end.
 */
export function moveRing(session: Session): void {
  const { random, capture, table, log } = session;
  const entry = random.pick(table.entries.filter(({ write, page }) => write && page !== undefined));
  if (!entry || random.chance(0.1)) {
    capture.stop();
    return;
  }
  const room = entry.nrPages * PAGE_SIZE;
  const frameSize = random.pick([64, 256, 1024, 4096, 65536].filter((size) => size <= room))!;
  const most = Math.floor(Math.log2(Math.min(1024, room / frameSize)));
  const frames = 2 ** random.between(Math.max(0, most - 3), most);
  const slack = random.chance(0.85) ? room - frames * frameSize : room - 64;
  const iova = entry.vpn * PAGE_SIZE + random.below(Math.floor(slack / 64) + 1) * 64;
  const rate = random.weighted([
    [8, 500],
    [8, 3000],
    [3, 20_000],
    [1, 0],
  ]);
  const ring: RingPlan = { iova, frames, frameSize, rate, irqEvery: random.pick([0, 1, 16, 256])! };
  const clean = isMapped(session, ring);
  log.event(`ring at ${hex(iova)}: ${frames} × ${frameSize}, ${rate} a second${clean ? '' : ', in part refused'}`);
  log.count('operations');
  capture.start(ring, clean);
}

function isMapped({ table }: Session, { iova, frames, frameSize }: RingPlan): boolean {
  const end = iova + frames * frameSize;
  for (let vpn = Math.floor(iova / PAGE_SIZE); vpn * PAGE_SIZE < end; vpn++) if (!table.at(vpn)?.write) return false;
  return true;
}

/**
 * Checks a clean ring. No access to it was refused, and its newest frame lies where the mapping
 * leads, if nobody has written there since.
 */
export function checkRing(session: Session): void {
  const { capture, log } = session;
  if (!session.hasCleanRing) return;
  log.event('look at the ring');
  capture.checkFaults();
  const index = capture.writeIndex() - 1; // −1: none yet
  if (index < 0 || !capture.isIntact(index) || isAliased(session, capture.ring!)) return;
  const frame = frameAt(session, capture.ring!, index);
  if (frame && stillThere(capture, index)) {
    checkFrame(capture.file.name, frame, index);
    log.count('frames');
  }
}

/** Whether two pages of the ring are the same memory, so that frames overwrite each other. */
function isAliased(session: Session, { iova, frames, frameSize }: RingPlan): boolean {
  const nrPages = Math.ceil((iova + frames * frameSize) / PAGE_SIZE) - Math.floor(iova / PAGE_SIZE);
  return ringPages(session).size < nrPages;
}

/** Whether frame `index` cannot have been overwritten until now. */
const stillThere = (capture: RingWatch, index: number): boolean => capture.writeIndex() - index < capture.ring!.frames;

/**
 * A copy of the slot's bytes, read through the mappings. Undefined when a mapping leads to memory
 * that is not guarded.
 */
function frameAt({ table, memory }: Session, ring: RingPlan, index: number): Uint8Array | undefined {
  const frame = new Uint8Array(ring.frameSize);
  const start = ring.iova + (index % ring.frames) * ring.frameSize;
  for (let done = 0; done < frame.length; ) {
    const vpn = Math.floor((start + done) / PAGE_SIZE);
    const offset = (start + done) % PAGE_SIZE;
    const entry = table.at(vpn);
    if (entry?.page === undefined) return undefined;
    const at = pageBehind(entry, vpn) * PAGE_SIZE + offset;
    const bytes = Math.min(PAGE_SIZE - offset, frame.length - done);
    frame.set(memory.bytes.subarray(at, at + bytes), done);
    done += bytes;
  }
  return frame;
}
