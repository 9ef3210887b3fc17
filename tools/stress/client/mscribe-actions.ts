/**
 * Jobs for mscribe. Its accesses are accesses of the CPU through the vaddr of the moment (VAD-1…8).
 * With an invalid vaddr the job sleeps, across an exec too, until MAP VADDR lets it go on with the
 * right bytes or UNMAP ends it.
 */
import { monotonicNs } from '../../../platform/clock.ts';
import { hex } from '../../../platform/hex.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import {
  DESCRIPTOR_BYTES,
  encodeJob,
  type Mscribe,
  readResult,
  STATUS_DESTINATION_REFUSED,
  STATUS_DONE,
  STATUS_SOURCE_REFUSED,
} from '../../../vmm/client/drivers/mscribe.ts';
import { Violation } from '../invariants.ts';
import { ringPages } from './dma-actions.ts';
import { unmapEntries } from './mapping-actions.ts';
import type { Entry } from './mapping-table.ts';
import type { PendingJob } from './pending-job.ts';
import type { Session } from './session.ts';
import { invalidate, revalidate } from './vaddr-actions.ts';

const MOST_BYTES = 16 * 1024;
const ATTEMPTS = 4;
/** How long a job that must sleep is watched, in ms. */
const ASLEEP_MS = 2;
const PATIENCE_NS = 20e9;

/** Number of descriptors in the ring. One of them is used. */
const RING_SIZE = 2;

const nobody = new Int32Array(new SharedArrayBuffer(4));

/** Bytes inside a mapping. */
interface Place {
  readonly entry: Entry;
  readonly iova: number;
  /** Offset in the guarded memory, in bytes. */
  readonly at: number;
}

interface Plan {
  readonly ring: Place;
  readonly source: Place;
  readonly destination: Place;
  readonly length: number;
}

/** Whether the process can reach all of the entry's memory at the vaddr that the kernel knows. */
function isReachable({ views }: Session, { read, write, page, vaddr, invalid }: Entry): boolean {
  if (!read || !write || page === undefined) return false;
  return invalid || views.some((view) => view.writable && view.vaddr === vaddr - page * PAGE_SIZE);
}

function somePlace({ random }: Session, length: number, candidates: readonly Entry[]): Place | undefined {
  const entry = random.pick(candidates.filter(({ nrPages }) => nrPages * PAGE_SIZE >= length));
  if (!entry) return undefined;
  const offset =
    random.below(Math.floor((entry.nrPages * PAGE_SIZE - length) / DESCRIPTOR_BYTES) + 1) * DESCRIPTOR_BYTES;
  return { entry, iova: entry.vpn * PAGE_SIZE + offset, at: entry.page! * PAGE_SIZE + offset };
}

const pagesFrom = (at: number, length: number): number[] => {
  const first = Math.floor(at / PAGE_SIZE);
  return Array.from({ length: Math.floor((at + length - 1) / PAGE_SIZE) - first + 1 }, (_, i) => first + i);
};

/**
 * Plans a job. Ring, source and destination do not overlap, and nothing else writes to their
 * memory.
 */
function planJob(session: Session): Plan | undefined {
  const { random, table } = session;
  const candidates = table.entries.filter((entry) => isReachable(session, entry));
  const busy = ringPages(session);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const length = random.between(1, MOST_BYTES / 8) * 8;
    const ring = somePlace(session, RING_SIZE * DESCRIPTOR_BYTES, candidates);
    const source = somePlace(session, length, candidates);
    const destination = somePlace(session, length, candidates);
    if (!ring || !source || !destination) continue;
    const pages = [
      ...pagesFrom(ring.at, RING_SIZE * DESCRIPTOR_BYTES),
      ...pagesFrom(source.at, length),
      ...pagesFrom(destination.at, length),
    ];
    if (new Set(pages).size < pages.length || pages.some((page) => busy.has(page))) continue;
    return { ring, source, destination, length };
  }
  return undefined;
}

function submit({ mscribe, memory, random, log }: Session, { ring, source, destination, length }: Plan): void {
  memory.bytes.set(random.bytes(length), source.at);
  memory.bytes.fill(random.next(), destination.at, destination.at + length);
  const job = { operation: 'copy', source: source.iova, destination: destination.iova, length } as const;
  memory.bytes.set(encodeJob(job), ring.at);
  log.event(`mscribe copies ${hex(source.iova)} to ${hex(destination.iova)}, ${length} bytes`);
  log.count('operations');
  mscribe!.start(ring.iova, RING_SIZE);
  mscribe!.submit(1);
}

/** Runs one job, at once or with a sleep in the middle. */
export function scribe(session: Session): void {
  const { mscribe, random } = session;
  const plan = mscribe && planJob(session);
  if (!plan) return;
  const involved = [...new Set([plan.ring.entry, plan.source.entry, plan.destination.entry])];
  for (const entry of involved) if (!entry.invalid && random.chance(0.25)) invalidate(session, entry);
  const invalid = involved.filter((entry) => entry.invalid);
  submit(session, plan);
  if (invalid.length > 0) mustSleep(session);
  const victim = random.chance(0.3) ? random.pick(invalid) : undefined;
  if (victim) unmapEntries(session, { vpn: victim.vpn, nrPages: victim.nrPages, flags: 0 }, [victim]);
  for (const entry of invalid) if (entry !== victim && entry.invalid) revalidate(session, entry);
  if (victim) finishRefused(session, plan, victim);
  else finish(session, pendingOf(plan));
}

function stateOf(mscribe: Mscribe): 'busy' | 'done' | 'error' {
  if (mscribe.hasFailed()) return 'error';
  return mscribe.ended() === 1 ? 'done' : 'busy';
}

function mustSleep({ mscribe, log }: Session): void {
  Atomics.wait(nobody, 0, 0, ASLEEP_MS); // this gives the job time to do wrong
  if (stateOf(mscribe!) !== 'busy') throw new Violation('answer', 'mscribe has not waited for a valid vaddr');
  log.count('sleeps');
}

/** Waits for the final state of the job. Before that the job may have to be woken. */
function outcome({ mscribe, log }: Session): 'done' | 'error' {
  const deadline = monotonicNs() + PATIENCE_NS;
  for (;;) {
    const state = stateOf(mscribe!);
    if (state !== 'busy') return state;
    if (log.beat() > deadline) throw new Violation('6', 'mscribe still sleeps, and all its vaddrs are valid');
  }
}

const pendingOf = ({ ring, source, destination, length }: Plan): PendingJob => {
  return { ringAt: ring.at, sourceAt: source.at, destinationAt: destination.at, length };
};

/** Checks that the job ends well: every byte is where it belongs. */
export function finish(session: Session, { ringAt, sourceAt, destinationAt, length }: PendingJob): void {
  const { bytes } = session.memory;
  const state = outcome(session);
  const { written, status } = readResult(bytes.slice(ringAt, ringAt + DESCRIPTOR_BYTES));
  if (state !== 'done' || status !== STATUS_DONE || written !== length) {
    throw new Violation('answer', `mscribe: ${state}, status ${status}, ${written} of ${length} bytes`);
  }
  const [source, destination] = [
    bytes.slice(sourceAt, sourceAt + length),
    bytes.slice(destinationAt, destinationAt + length),
  ];
  if (Buffer.compare(source, destination) !== 0) throw new Violation('2', 'mscribe has copied other bytes');
  session.mscribe!.reset();
  session.log.count('transfers');
}

/**
 * Checks a job whose mapping has gone while it waited: that part is refused, and nothing was
 * copied.
 */
function finishRefused(session: Session, { ring, source }: Plan, victim: Entry): void {
  const state = outcome(session);
  const { written, status } = readResult(session.memory.bytes.slice(ring.at, ring.at + DESCRIPTOR_BYTES));
  const expected = source.entry === victim ? STATUS_SOURCE_REFUSED : STATUS_DESTINATION_REFUSED;
  const right = ring.entry === victim ? state === 'error' : state === 'done' && status === expected && written === 0;
  if (!right) throw new Violation('answer', `mscribe, its mapping gone: ${state}, status ${status}, ${written} bytes`);
  session.log.count('refusals');
  session.mscribe!.reset();
}

/**
 * Submits a job that sleeps until the next image wakes it. No vaddr that it needs is valid now, and
 * it never uses a vaddr of the old image.
 */
export function submitAsleep(session: Session): PendingJob | undefined {
  const plan = session.mscribe && session.random.chance(0.6) ? planJob(session) : undefined;
  if (!plan || [plan.ring, plan.source, plan.destination].some(({ entry }) => !entry.invalid)) return undefined;
  submit(session, plan);
  mustSleep(session);
  return pendingOf(plan);
}
