/** execve of a mapper: what the next image, or a guardian, gets. */
import { readFileSync } from 'node:fs';

import { close, setCloexec } from '../../../platform/libc/fd.ts';
import { memfdCreate } from '../../../platform/libc/memfd.ts';
import { execve } from '../../../platform/libc/this-process.ts';
import { writeAll } from '../../../platform/whole-file.ts';
import { PHASE } from '../event-log.ts';
import { type Assignment, LOG_FD, MEMORY_FD } from './assignment.ts';
import type { PendingJob } from './pending-job.ts';
import type { Session, SessionState } from './session.ts';

export const RESUME_FLAG = '--resume';

interface Handover {
  readonly assignment: Assignment;
  readonly state: SessionState;
}

export interface Image {
  readonly program: string;
  /** The arguments without the flag and the fd of the state. */
  readonly words: readonly string[];
  readonly flag?: string;
  readonly job?: PendingJob | undefined;
  /** Called when the state lies in `stateFd`; the fds that go with it are `kept`. */
  readonly guarded?: (stateFd: number, kept: readonly number[]) => void;
}

/** Replaces the process. Throws the errors of execve(2). */
export function execImage(session: Session, { program, words, flag = RESUME_FLAG, job, guarded }: Image): never {
  const { assignment, log, ledgers } = session;
  log.event(`exec ${program} ${words.join(' ')}`);
  const handover: Handover = { assignment, state: session.save(job) };
  const fd = memfdCreate('stress-state', 0);
  try {
    const bytes = Buffer.from(JSON.stringify(handover));
    writeAll(fd, bytes);
    const kept = [LOG_FD, MEMORY_FD, ...session.openFds(), ledgers.edu.eventfd, ledgers.capture.eventfd];
    guarded?.(fd, kept);
    for (const one of [0, 1, 2, ...kept]) setCloexec(one, false); // 0–2 are Node's
    log.enter(guarded ? PHASE.guarded : PHASE.executing);
    execve(program, [program, ...words, flag, String(fd)], process.env);
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
