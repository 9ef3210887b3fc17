/**
 * The checks that a mapper makes between its actions: guards, counts, interrupts (invariants 1, 3,
 * 4).
 */
import { monotonicNs } from '../../../platform/clock.ts';
import { Violation } from '../invariants.ts';
import { refusals } from './questions.ts';
import type { Session } from './session.ts';

const PATIENCE_NS = 20e9;

export function checkGuards({ memory, random, log }: Session): void {
  const all = random.chance(0.2);
  const first = all ? 0 : random.below(memory.nrPages);
  const end = all ? memory.nrPages : Math.min(memory.nrPages, first + 64);
  log.count('pagesChecked', memory.check(first, end));
}

/** Checks the counts (invariant 3), and that edu was refused nothing it may do (2). */
export function checkCounts(session: Session): void {
  const { container, table, assignment, questions, accounting, log, shared } = session;
  log.event('count');
  const { dmaAvail } = container.facts();
  const info = questions.info();
  const id = info.groups.find(({ group }) => group === session.eduDevice.group)?.container;
  const found = info.containers.find((one) => one.id === id);
  const locked = info.clients.find(({ pid }) => pid === process.pid)?.lockedPages;
  if (!found) throw new Violation('3', 'its container is not among those of the host');
  const nr = table.entries.length;
  const facts: readonly (readonly [string, number | undefined, number])[] = [
    ['dma_avail + entries', dmaAvail + nr, assignment.entryLimit],
    ['entries', found.mappings, nr],
    ['invalid entries', found.invalidVaddrs, table.nrInvalid],
    ['mapped pages', found.mappedBytes / 4096, table.nrPages],
  ];
  for (const [what, is, expected] of facts) {
    const right = shared ? (what.startsWith('dma') ? is! <= expected : is! >= expected) : is === expected;
    if (!right) throw new Violation('3', `${what}: ${is}, not ${expected}`);
  }
  if (locked !== accounting.lockedPages) {
    throw new Violation('3', `locked pages: ${locked}, not ${accounting.lockedPages}`);
  }
  checkEduFaults(session, refusals(info.devices.find(({ bdf }) => bdf === session.eduDevice.bdf)!));
  log.count('countsChecked');
}

/** Checks edu's refusals: none is allowed if no copy since the last check has left the mappings. */
function checkEduFaults(session: Session, faults: number): void {
  const before = session.eduFaults;
  if (!before.mayFault && faults !== before.faults) {
    throw new Violation('2', `edu: ${faults - before.faults} accesses to mapped memory were refused`);
  }
  session.eduFaults = { faults, mayFault: false };
}

/**
 * Checks invariant 4: with both devices quiet every interrupt is accounted for. This stops the
 * capture, so its ring is gone afterwards.
 */
export function settleInterrupts(session: Session): void {
  const { capture, ledgers, questions, log } = session;
  log.event('settle');
  capture.stop();
  const { devices } = questions.info();
  for (const [ledger, { bdf }] of [
    [ledgers.edu, session.eduDevice],
    [ledgers.capture, session.captureDevice],
  ] as const) {
    log.count('interrupts', ledger.settle(devices.find((device) => device.bdf === bdf)!));
  }
}

/** Routes the MSI of one device somewhere else, or nowhere. */
export function reroute({ random, ledgers, log }: Session): void {
  const ledger = random.chance(0.5) ? ledgers.edu : ledgers.capture;
  log.count('operations');
  if (ledger.route !== 'eventfd') ledger.routeTo('eventfd');
  else
    ledger.routeTo(
      random.weighted([
        [6, 'eventfd'],
        [2, 'none'],
        [2, 'off'],
      ]),
    );
}

/** Checks that devices went on while the process was replaced: a clean ring must have grown. */
export function checkProgress({ capture, log }: Session, writeIndex: number): void {
  capture.checkFaults();
  const deadline = monotonicNs() + PATIENCE_NS;
  while (capture.writeIndex() === writeIndex) {
    if (log.beat() > deadline) throw new Violation('2', `capture stands at frame ${writeIndex} since the exec`);
  }
}
