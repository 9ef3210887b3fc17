/**
 * execve of a mapper under DMA. The old image makes vaddrs invalid, keeps its fds and puts its
 * state into a memfd; the next image picks all of it up (CPR-1).
 */
import { readFileSync } from 'node:fs';

import { SysError } from '../../../platform/errno.ts';
import { close, setCloexec } from '../../../platform/libc/fd.ts';
import { memfdCreate } from '../../../platform/libc/memfd.ts';
import { execve } from '../../../platform/libc/this-process.ts';
import { writeAll } from '../../../platform/whole-file.ts';
import { programPath } from '../../launch/programs.ts';
import { PHASE } from '../event-log.ts';
import { Violation } from '../invariants.ts';
import { type Assignment, LOG_FD, MEMORY_FD } from './assignment.ts';
import { checkCounts, checkProgress } from './checks.ts';
import { checkRing } from './dma-actions.ts';
import { finish, submitAsleep } from './mscribe-actions.ts';
import type { PendingJob } from './pending-job.ts';
import type { Session, SessionState } from './session.ts';
import { invalidateAll, invalidateSomething, revalidateAll, revalidateSomething } from './vaddr-actions.ts';

export const RESUME_FLAG = '--resume';

interface Handover {
  readonly assignment: Assignment;
  readonly state: SessionState;
}

/** Execs. Returns only when the exec has failed and the old image has put everything back. */
export function exec(session: Session): void {
  const { random, log } = session;
  random.weighted([
    [8, () => invalidateAll(session)],
    [1, () => invalidateSomething(session)],
    [1, () => {}],
  ])();
  const fails = random.chance(0.15);
  const writeIndex = session.hasCleanRing ? session.capture.writeIndex() : undefined;
  const job = submitAsleep(session);
  try {
    execImage(session, {
      program: fails ? '/nonexistent/node' : process.execPath,
      words: [programPath('stress-client')],
      job,
    });
  } catch (error) {
    if (!(fails && error instanceof SysError && error.code === 'ENOENT')) throw error;
  }
  log.enter(PHASE.running);
  log.count('failedExecs');
  revalidateAll(session);
  if (job) finish(session, job);
  if (writeIndex !== undefined) checkProgress(session, writeIndex);
}

export interface Image {
  readonly program: string;
  /** The arguments without RESUME_FLAG and the fd of the state. */
  readonly words: readonly string[];
  readonly job?: PendingJob | undefined;
}

/** Replaces the process. Throws the errors of execve(2). */
export function execImage(session: Session, { program, words, job }: Image): never {
  const { assignment, log, ledgers } = session;
  log.event(`exec ${program}`);
  const handover: Handover = { assignment, state: session.save(job) };
  const fd = memfdCreate('stress-state', 0);
  try {
    const bytes = Buffer.from(JSON.stringify(handover));
    writeAll(fd, bytes);
    const kept = [LOG_FD, MEMORY_FD, ...session.openFds(), ledgers.edu.eventfd, ledgers.capture.eventfd];
    for (const one of [0, 1, 2, ...kept]) setCloexec(one, false); // 0–2 are Node's
    log.enter(PHASE.executing);
    execve(program, [program, ...words, RESUME_FLAG, String(fd)], process.env);
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Reads the handover in the next image. */
export function takeHandover(fd: number): Handover {
  const text = readFileSync(`/proc/self/fd/${fd}`, 'utf8');
  close(fd);
  return JSON.parse(text) as Handover;
}

/**
 * Goes on in the next image. The devices never stopped and no mapping has moved. The memory gets
 * new vaddrs, most often all of it at once.
 */
export function resume(session: Session, { writeIndex, job }: SessionState): void {
  const { log, random } = session;
  log.count('execs');
  if (writeIndex !== undefined) {
    if (!session.hasCleanRing) throw new Violation('5', 'the state of the old image is not that of the new one');
    checkProgress(session, writeIndex);
  }
  checkRing(session);
  if (job || random.chance(0.8)) revalidateAll(session);
  else revalidateSomething(session);
  if (job) finish(session, job);
  checkCounts(session);
}
