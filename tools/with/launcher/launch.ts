/** Starts a program under a filter, and takes the fd at which its trapped calls arrive. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';

import { close } from '../../../platform/libc/fd.ts';
import { getRlimit, pidfdGetfd, pidfdOpen, RLIMIT_NOFILE } from '../../../platform/libc/other-process.ts';
import { programArgv } from '../../launch/programs.ts';
import { LAUNCHER_FD } from './handshake.ts';

export interface LaunchedProgram {
  readonly child: ChildProcess;
  /** Resolves when the program has ended; the descendants that it leaves may go on. */
  readonly exited: Promise<{ readonly status: number | null; readonly signal: NodeJS.Signals | null }>;
  /** Where its trapped calls arrive; undefined when it has ended before. The caller closes it. */
  readonly listener: number | undefined;
  /** Lets the program begin. Its first calls are trapped. */
  readonly begin: () => void;
}

/** The program shares our terminal and our stdio. Process `faultHandler` may trace it. */
export async function launch(words: readonly string[], faultHandler?: number): Promise<LaunchedProgram> {
  const [node, ...argv] = programArgv('with-launcher', softFdLimit(), String(faultHandler ?? '-'), ...words);
  const child = spawn(node!, argv, { stdio: ['inherit', 'inherit', 'inherit', 'pipe'] });
  const exited = new Promise<Awaited<LaunchedProgram['exited']>>((resolve, reject) => {
    child.once('exit', (status, signal) => resolve({ status, signal }));
    child.once('error', reject);
  });
  const pipe = child.stdio[LAUNCHER_FD] as Duplex;
  pipe.on('error', () => {}); // it has ended: `exited` says so
  const line = once(pipe, 'data') as Promise<[Buffer]>;
  line.catch(() => {}); // as above
  const said = await Promise.race([line, exited]);
  const listener = Array.isArray(said) ? fdOf(child.pid!, Number(said[0].toString())) : undefined;
  return { child, exited, listener, begin: () => pipe.end('\n') };
}

function fdOf(pid: number, fd: number): number {
  const pidfd = pidfdOpen(pid);
  try {
    return pidfdGetfd(pidfd, fd);
  } finally {
    close(pidfd);
  }
}

/**
 * Node has raised our own soft limit of open files to the hard one; that of the shell that has
 * started us is what the program would have without us.
 */
function softFdLimit(): string {
  try {
    return String(getRlimit(process.ppid, RLIMIT_NOFILE).soft);
  } catch {
    return '-'; // another user's process, or gone
  }
}
