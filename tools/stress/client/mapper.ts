/**
 * A mapper: a client that does to its container and devices what a VMM does, in any order. It knows
 * after each step what must hold. A mapper with a partner shares its container, and each of the two
 * has a window of its own.
 */
import { spawn } from 'node:child_process';

import { setContainer, unsetContainer } from '../../../vmm/client/group.ts';
import { programPath } from '../../launch/programs.ts';
import { type Assignment, PARTNER_LOG_FD, PARTNER_MEMORY_FD } from './assignment.ts';
import type { Call } from './caller.ts';
import { checkCounts, checkGuards, reroute, settleInterrupts } from './checks.ts';
import { commit } from './defect.ts';
import { trackDirtyPages } from './dirty-actions.ts';
import { checkRing, copySomething, moveRing } from './dma-actions.ts';
import { exec } from './exec.ts';
import { shardIsGone } from './lifeline.ts';
import { badCall, mapSomething, unmapSomething } from './mapping-actions.ts';
import { scribe } from './mscribe-actions.ts';
import { acquireDevice } from './opening.ts';
import type { Session } from './session.ts';
import {
  changeViews,
  invalidateSomething,
  revalidateAll,
  revalidateSomething,
  revalidateWrongly,
} from './vaddr-actions.ts';

type Action = (session: Session) => void;

const ACTIONS: readonly (readonly [number, Action])[] = [
  [220, mapSomething],
  [180, unmapSomething],
  [50, invalidateSomething],
  [70, revalidateSomething],
  [15, revalidateWrongly],
  [15, badCall],
  [20, changeViews],
  [110, copySomething],
  [40, scribe],
  [60, moveRing],
  [80, checkRing],
  [80, checkGuards],
  [25, checkCounts],
  [15, settleInterrupts],
  [15, reroute],
  [15, ({ random, ledgers }) => (random.chance(0.5) ? ledgers.edu : ledgers.capture).loopBack()],
  [20, ({ ledgers }) => ledgers.capture.collect()],
  [20, ({ edu, capture, random }) => (random.chance(0.5) ? edu : capture).acknowledge()],
  [30, trackDirtyPages],
  [3, regroup],
  [2, reopen],
];

/** Numbers of actions between two execs. */
const FEWEST_ACTIONS = 100;
const MOST_ACTIONS = 700;
/** Number of actions before the first exec of a process, which comes sooner. */
const FIRST_ACTIONS = 60;
/** Number of actions before the injected defect. */
const DEFECT_AFTER = 10;

export function runMapper(session: Session): void {
  const { random, log } = session;
  const { inject } = session.assignment;
  let untilExec = session.image === 0 ? FIRST_ACTIONS : random.between(FEWEST_ACTIONS, MOST_ACTIONS);
  for (let actions = 0; !log.stopRequested(); actions++) {
    if (shardIsGone()) return;
    if (inject !== undefined && actions === DEFECT_AFTER) commit(session, inject);
    if (--untilExec > 0) {
      random.weighted(ACTIONS)(session);
    } else {
      exec(session);
      untilExec = random.between(FEWEST_ACTIONS, MOST_ACTIONS);
    }
  }
  end(session);
}

/**
 * Ends in good order: makes every check that is still possible, then leaves in one of several ways.
 */
function end(session: Session): void {
  const { random, ledgers, memory, log } = session;
  checkRing(session);
  settleInterrupts(session);
  checkCounts(session);
  log.count('pagesChecked', memory.check());
  if (random.chance(0.5) && !session.shared) session.reopen(); // closes in order; exit, in any
  ledgers.capture.collect();
}

/**
 * Takes the capture's group out of the container and puts it back. The kernel refuses this while
 * its device is open (CORE-5) or, since 6.3, while vaddrs are invalid (VAD-15).
 */
function regroup(session: Session): void {
  const { caller, files, shared, table, profile } = session;
  const [, group] = files.groups;
  const [, device] = files.devices;
  if (shared || group === undefined || device === undefined) return;
  settleInterrupts(session);
  const leave: Call = (client) => unsetContainer(client, group);
  caller.expect('UNSET_CONTAINER', 'EBUSY', leave);
  caller.must('close capture', (client) => client.close(device));
  session.ledgers.capture.close();
  caller.expect('UNSET_CONTAINER', 0, leave);
  const join: Call = (client) => setContainer(client, group, files.container);
  if (table.nrInvalid > 0 && profile.invalidVaddr === 'refused') {
    caller.expect('SET_CONTAINER', 'EBUSY', join);
    revalidateAll(session);
  }
  caller.expect('SET_CONTAINER', 0, join);
  session.replaceCapture(acquireDevice(caller, group, session.captureDevice));
}

function reopen(session: Session): void {
  if (session.shared) return;
  settleInterrupts(session);
  session.reopen();
}

/**
 * Starts the partner process. It inherits the container and two of its devices, and it stays when
 * this process execs or dies.
 */
export function startPartner(session: Session, partner: Assignment): void {
  const { container, groups, devices } = session.files;
  const own = session.assignment.devices.length;
  const given = devices.slice(own);
  const stdio = ['inherit', 'inherit', 'inherit', PARTNER_LOG_FD, PARTNER_MEMORY_FD, container, ...given] as const;
  spawn(process.execPath, [programPath('stress-client'), JSON.stringify(partner)], { stdio: [...stdio] });
  session.giveAway([...given, ...groups.slice(own)]);
}
