/**
 * execve of a mapper under DMA. The old image makes vaddrs invalid, keeps its fds and puts its
 * state into a memfd; the next image picks all of it up (CPR-1).
 */
import { SysError } from '../../../platform/errno.ts';
import { programPath } from '../../launch/programs.ts';
import { PHASE } from '../event-log.ts';
import { Violation } from '../invariants.ts';
import { execBadly, mayFailLater } from './bad-successor.ts';
import { checkCounts, checkProgress } from './checks.ts';
import { checkRing } from './dma-actions.ts';
import { execImage } from './exec-image.ts';
import { finish, submitAsleep } from './mscribe-actions.ts';
import type { Session, SessionState } from './session.ts';
import { invalidateAll, invalidateSomething, revalidateAll, revalidateSomething } from './vaddr-actions.ts';

/** Execs. Returns only when the exec has failed and the old image has put everything back. */
export function exec(session: Session): void {
  const { random, log } = session;
  random.weighted([
    [8, () => invalidateAll(session)],
    [1, () => invalidateSomething(session)],
    [1, () => {}],
  ])();
  if (random.chance(0.35) && mayFailLater(session)) execBadly(session);
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
