import { codeOf } from '../../../platform/errno.ts';
import { pidfdSendSignal } from '../../../platform/libc/other-process.ts';
import { POLLIN, poll } from '../../../platform/libc/poll.ts';

const SIGKILL = 9;
/** How long to wait for a killed process before looking again. */
const GONE_MS = 1000;

/** Kills the process, and returns when it is dead: two must never run one guest. EPERM. */
export function endProcess(pidfd: number): void {
  try {
    pidfdSendSignal(pidfd, SIGKILL);
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return; // it has ended, and somebody has waited for it
    throw error;
  }
  while (!poll([{ fd: pidfd, events: POLLIN }], GONE_MS));
}
