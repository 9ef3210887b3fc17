/**
 * A client process of a stress run. A broken invariant goes to stdout as one line; the events are
 * in the client's log.
 */
import { writeSync } from 'node:fs';

import { SysError } from '../../../platform/errno.ts';
import { Mapping } from '../../../platform/memory.ts';
import { EventLog, LOG_BYTES, PHASE } from '../event-log.ts';
import { type Invariant, Violation } from '../invariants.ts';
import { type Assignment, type Complaint, LOG_FD, STATUS_COMPLAINED } from './assignment.ts';
import { Auditor } from './auditor.ts';
import { awaitEnd, dieHalfWay, GUARD_FLAG, HALF_FLAG, stateOfGuardian, takeBack } from './bad-successor.ts';
import { resume } from './exec.ts';
import { RESUME_FLAG, takeHandover } from './exec-image.ts';
import { Fuzzer } from './fuzzer.ts';
import { Keeper } from './keeper.ts';
import { shardIsGone, thawWhenOrphaned } from './lifeline.ts';
import { runMapper, startPartner } from './mapper.ts';
import { PEERS_FLAG, Peers, type PeersState } from './peers.ts';
import { Session } from './session.ts';

/** The guardian of an exec goes on, when the new image has ended. */
function runTakenBack(log: EventLog, fd: number): void {
  const { assignment, state } = takeHandover(fd);
  name = assignment.name;
  const own = stateOfGuardian(state);
  const session = new Session(assignment, log, own);
  takeBack(session, own);
  log.enter(PHASE.running);
  runMapper(session);
}

function runHalf(log: EventLog, fd: number): never {
  const { assignment, state } = takeHandover(fd);
  name = assignment.name;
  return dieHalfWay(new Session(assignment, log, state));
}

function runResumed(log: EventLog, fd: number): void {
  const { assignment, state } = takeHandover(fd);
  name = assignment.name;
  const session = new Session(assignment, log, state);
  resume(session, state);
  log.enter(PHASE.running);
  runMapper(session);
}

/** How many steps there are at least between two execs of the peers. */
const STEPS = 30;

function runPeers(log: EventLog, peers: Peers): void {
  log.enter(PHASE.running);
  for (let steps = 1; !log.stopRequested() && !shardIsGone(); steps++) {
    if (steps >= STEPS) peers.exec(); // it returns while a target is closed
    peers.step();
  }
}

function runNextPeers(log: EventLog, fd: number): void {
  const { assignment, state } = takeHandover<PeersState>(fd);
  name = assignment.name;
  const peers = new Peers(assignment, log, state);
  peers.arrive();
  runPeers(log, peers);
}

function runKeeper(log: EventLog, keeper: Keeper): void {
  log.enter(PHASE.running);
  while (!log.stopRequested() && !shardIsGone()) {
    if (log.parkRequested()) keeper.park();
    keeper.step();
  }
}

function run(log: EventLog, assignment: Assignment): void {
  name = assignment.name;
  if (assignment.kind === 'mapper') {
    const session = new Session(assignment, log);
    if (assignment.partner) startPartner(session, assignment.partner);
    log.enter(PHASE.running);
    runMapper(session);
    return;
  }
  if (assignment.kind === 'peers') {
    runPeers(log, new Peers(assignment, log));
    return;
  }
  if (assignment.kind === 'keeper') {
    runKeeper(log, new Keeper(assignment, log));
    return;
  }
  const actor = assignment.kind === 'fuzzer' ? new Fuzzer(assignment, log) : new Auditor(assignment, log);
  log.enter(PHASE.running);
  while (!log.stopRequested() && !shardIsGone()) actor.step();
  if (actor instanceof Auditor) actor.end();
}

/** The invariant that an error breaks; undefined when the error is one of this program itself. */
function invariantOf(error: unknown): Invariant | undefined {
  if (error instanceof Violation) return error.invariant;
  if (!(error instanceof SysError)) return undefined;
  return error.code === 'EPIPE' || error.code === 'ECONNREFUSED' ? '6' : 'answer';
}

let name = '';
thawWhenOrphaned();
const [word, value, guarded, deaf] = process.argv.slice(2);
if (word === GUARD_FLAG) {
  awaitEnd(Number(guarded), shardIsGone);
  if (deaf !== undefined) process.exit(0);
}
const log = new EventLog(new Mapping(LOG_FD, LOG_BYTES).buffer);
try {
  if (word === RESUME_FLAG) runResumed(log, Number(value));
  else if (word === GUARD_FLAG) runTakenBack(log, Number(value));
  else if (word === HALF_FLAG) runHalf(log, Number(value));
  else if (word === PEERS_FLAG) runNextPeers(log, Number(value));
  else run(log, JSON.parse(word!) as Assignment);
  log.event('ends');
  log.enter(PHASE.ended);
  process.exit(0);
} catch (error) {
  const invariant = invariantOf(error);
  if (invariant === undefined) throw error;
  const complaint: Complaint = { actor: name, invariant, message: (error as Error).message };
  log.event(`invariant ${invariant}: ${complaint.message}`);
  writeSync(1, `${JSON.stringify(complaint)}\n`);
  process.exit(STATUS_COMPLAINED);
}
