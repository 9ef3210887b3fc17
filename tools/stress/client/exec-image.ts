/** execve of a mapper: what the next image, or a guardian, gets. */
import { readFileSync } from 'node:fs';

import { close, setCloexec } from '../../../platform/libc/fd.ts';
import { memfdCreate } from '../../../platform/libc/memfd.ts';
import { execve } from '../../../platform/libc/this-process.ts';
import { writeAll } from '../../../platform/whole-file.ts';
import { type EventLog, PHASE } from '../event-log.ts';
import { type Assignment, LOG_FD, MEMORY_FD } from './assignment.ts';
import type { PendingJob } from './pending-job.ts';
import type { Session, SessionState } from './session.ts';

export const RESUME_FLAG = '--resume';

/** What lies in the memfd that goes over the exec. */
interface Handover<S> {
  readonly assignment: Assignment;
  readonly state: S;
}

export interface Image {
  readonly program: string;
  /** The arguments without the flag and the fd of the state. */
  readonly words: readonly string[];
  readonly flag?: string;
  /** Called when the state lies in `stateFd`; the fds that go with it are `kept`. */
  readonly guarded?: (stateFd: number, kept: readonly number[]) => void;
}

/** Replaces the process. Throws the errors of execve(2). */
export function execImage(session: Session, image: Image & { readonly job?: PendingJob | undefined }): never {
  const { assignment, log, ledgers } = session;
  const kept = [...session.openFds(), ledgers.edu.eventfd, ledgers.capture.eventfd];
  execWith(log, { assignment, state: session.save(image.job) }, kept, image);
}

/** As execImage, for any state; `fds` go over the exec. */
export function execWith(
  log: EventLog,
  handover: Handover<unknown>,
  fds: readonly number[],
  { program, words, flag = RESUME_FLAG, guarded }: Image,
): never {
  log.event(`exec ${program} ${words.join(' ')}`);
  const fd = memfdCreate('stress-state', 0);
  try {
    writeAll(fd, Buffer.from(JSON.stringify(handover)));
    const kept = [LOG_FD, MEMORY_FD, ...fds];
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
export function takeHandover<S = SessionState>(fd: number): Handover<S> {
  const text = readFileSync(`/proc/self/fd/${fd}`, 'utf8');
  close(fd);
  return JSON.parse(text) as Handover<S>;
}
