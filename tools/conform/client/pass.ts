/** Open files that one process of a script gets from another, as SCM_RIGHTS passes them on. */
import { close, setCloexec } from '../../../platform/libc/fd.ts';
import { pidfdGetfd, pidfdOpen } from '../../../platform/libc/other-process.ts';
import type { State } from '../steps/state.ts';
import { Words } from '../steps/words.ts';
import type { PassedFd } from './protocol.ts';

/**
 * A fd of this process for the open file behind fd `fd` of process `pid`. It survives exec. EBADF,
 * ESRCH; EPERM without the right to ptrace that process.
 */
export function takeFd(pid: number, fd: number): number {
  const pidfd = pidfdOpen(pid);
  try {
    const taken = pidfdGetfd(pidfd, fd);
    setCloexec(taken, false);
    return taken;
  } finally {
    close(pidfd);
  }
}

/** The receiver's part of the step `pass`. Returns the answer. */
export const take = ({ pid, fd, name }: PassedFd, state: State): Promise<string> =>
  new Words(state).status(() => {
    state.change({ fd: name, number: takeFd(pid, fd) });
    return 0;
  });
