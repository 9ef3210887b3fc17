/** The process of a standby: one that this VMM has started, or one that its user has. */
import type { ChildProcess } from 'node:child_process';

import { close } from '../../../platform/libc/fd.ts';
import { pidfdOpen } from '../../../platform/libc/other-process.ts';
import { peerCredentials } from '../../../platform/libc/unix-socket.ts';
import { endProcess } from './end-process.ts';

export interface OtherProcess {
  readonly pid: number;
  readonly ended: Promise<unknown>;
  /** Kills it; `ended` resolves when it is dead. */
  kill(): void;
  /** We have no more to do with it. */
  release(): void;
}

export function startedBy(child: ChildProcess): OtherProcess {
  const ended = new Promise((resolve) => {
    child.once('exit', resolve);
    child.once('error', resolve);
  });
  return {
    pid: child.pid ?? 0,
    ended,
    kill: () => void child.kill('SIGKILL'),
    release: () => {},
  };
}

/** The process that listens at the other end of a connected socket. ESRCH: it has ended. */
export function connectedBy(socket: number): OtherProcess {
  const { pid } = peerCredentials(socket);
  const pidfd = pidfdOpen(pid);
  let end: () => void = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  return {
    pid,
    ended,
    kill() {
      endProcess(pidfd);
      end();
    },
    release: () => close(pidfd),
  };
}
