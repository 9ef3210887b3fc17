/**
 * An exec into a successor that is no good, under a guardian. The guardian is a second process with
 * all that the old image has. When the new image dies or hangs, it goes on as the old one did
 * (invariant 5; vmm/live-update/standby does this for a VMM).
 */
import { spawn } from 'node:child_process';

import { close } from '../../../platform/libc/fd.ts';
import { pidfdOpen } from '../../../platform/libc/other-process.ts';
import { POLLHUP, POLLIN, poll } from '../../../platform/libc/poll.ts';
import { programPath } from '../../launch/programs.ts';
import { Violation } from '../invariants.ts';
import { checkCounts, checkProgress } from './checks.ts';
import { checkRing } from './dma-actions.ts';
import { execImage } from './exec-image.ts';
import type { Session, SessionState } from './session.ts';
import { retakeAll, revalidateSomething } from './vaddr-actions.ts';

export const GUARD_FLAG = '--guard';
/** The new image takes over a part of it, and dies. */
export const HALF_FLAG = '--half';

/** How long the guardian waits for a successor that does nothing. */
const PATIENCE_MS = 1500;
const LATEST_DEATH_MS = 300;

/**
 * Whether another process must open everything anew in order to go on: before 6.0 it cannot unmap
 * what this one has mapped (UNM-9), and before 6.3 mediated devices do not reach its memory.
 */
const isStranger = ({ profile }: Session): boolean =>
  profile.unmapOfOtherMm === 'stops' || profile.invalidVaddr === 'sleeps';

/** Whether a guardian can go on: in a shared container it can open nothing anew. */
export const mayFailLater = (session: Session): boolean => !(session.shared && isStranger(session));

/** Does not return: this process becomes a bad successor. `deaf`: its guardian does nothing. */
export function execBadly(session: Session, { deaf = false } = {}): never {
  const { random } = session;
  const script = (text: string) => ({ words: ['-e', text, '--'] });
  const image = random.weighted<{ readonly words: readonly string[]; readonly flag?: string }>([
    [3, script(`process.exit(${random.below(2)})`)],
    [3, script(`setTimeout(() => process.kill(process.pid, 'SIGKILL'), ${random.below(LATEST_DEATH_MS)})`)],
    [1, script('setInterval(() => {}, 1000)')],
    [1, script("process.kill(process.pid, 'SIGSTOP')")],
    [3, { words: [programPath('stress-client')], flag: HALF_FLAG }],
  ]);
  return execImage(session, {
    ...image,
    program: process.execPath,
    guarded: (stateFd, kept) => startGuardian([stateFd, ...kept], stateFd, deaf),
  });
}

/** It gets the fds under the same numbers. */
function startGuardian(fds: readonly number[], stateFd: number, deaf: boolean): void {
  const words = [GUARD_FLAG, String(stateFd), String(process.pid), ...(deaf ? ['deaf'] : [])];
  const stdio = Array.from({ length: Math.max(...fds) + 1 }, (_, fd) => {
    if (fd <= 2) return 'inherit' as const;
    return fds.includes(fd) ? fd : ('ignore' as const);
  });
  spawn(process.execPath, [programPath('stress-client'), ...words], { stdio });
}

/**
 * The guardian's wait. Returns when the other process has ended; one that hangs is killed.
 * `isOver` tells that nobody needs a guardian any more.
 */
export function awaitEnd(pid: number, isOver: () => boolean): void {
  if (process.ppid !== pid) return; // it has ended already
  const pidfd = pidfdOpen(pid);
  const fds = [
    { fd: pidfd, events: POLLIN },
    { fd: 0, events: POLLHUP },
  ];
  const [ended] = poll(fds, PATIENCE_MS) ?? [];
  if (isOver()) process.exit(0);
  if (!ended) {
    process.kill(pid, 'SIGKILL');
    poll([{ fd: pidfd, events: POLLIN }], -1); // a killed process ends
  }
  close(pidfd);
}

/** The state for the guardian: it is another task, with another address space than both images. */
export const stateOfGuardian = (state: SessionState): SessionState => {
  const image = state.image + 1;
  return { ...state, image, taskImage: image };
};

/** Goes on in the guardian. The devices never stopped and no mapping has moved. */
export function takeBack(session: Session, { writeIndex }: SessionState): void {
  const { log } = session;
  log.count('takeovers');
  log.event('goes on as the old image');
  if (writeIndex !== undefined) {
    if (!session.hasCleanRing) throw new Violation('5', 'the state of the old image is not that of its guardian');
    checkProgress(session, writeIndex);
  }
  checkRing(session);
  retakeAll(session);
  checkCounts(session);
  if (isStranger(session)) session.reopen();
}

/** A successor that makes some of the vaddrs valid, and dies. */
export function dieHalfWay(session: Session): never {
  const { random, table } = session;
  session.log.event('takes over a part, and dies');
  for (let times = random.below(table.entries.length + 1); times > 0; times--) revalidateSomething(session);
  process.kill(process.pid, 'SIGKILL');
  for (;;); // until the signal comes
}
