/** The old image's side of prepare.ts. The guest runs meanwhile. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

import {
  addSeals,
  close,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
  memfdCreate,
} from '../../platform/libc.ts';
import { isIntact } from './code.ts';
import { CODE_FD } from './prepare.ts';
import { successorEnv } from './successor-env.ts';

/** It takes 0.1 s. */
const TIMEOUT_MS = 3000;

/**
 * Lets `node entry`, a VMM, prepare its code; a sealed memfd, close-on-exec. undefined if it cannot: an older version, no node at
 * all, no time. The update is then only slower.
 */
export async function prepareCode(node: string, entry: string): Promise<number | undefined> {
  const fd = memfdCreate('livevmm-code', MFD_CLOEXEC | MFD_ALLOW_SEALING);
  const stdio: (number | 'ignore')[] = ['ignore', 'ignore', 'ignore'];
  stdio[CODE_FD] = fd;
  const options = { stdio, env: successorEnv(), timeout: TIMEOUT_MS, killSignal: 'SIGKILL' } as const;
  const done = await succeeded(spawn(node, [...process.execArgv, entry, '--prepare'], options));
  if (done && seal(fd) && isIntact(fd)) return fd;
  close(fd);
  return undefined;
}

async function succeeded(child: ChildProcess): Promise<boolean> {
  const stop = (): boolean => child.kill('SIGKILL');
  process.once('exit', stop);
  try {
    const [status] = await once(child, 'exit');
    return status === 0;
  } catch {
    return false; // it could not be started, as execve will say
  } finally {
    process.removeListener('exit', stop);
  }
}

/** False if somebody may still change it. */
function seal(fd: number): boolean {
  try {
    addSeals(fd, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    return true;
  } catch {
    return false; // a writable mapping: EBUSY
  }
}
