/**
 * What decides how much memory a process may lock: CAP_IPC_LOCK, the user namespace in which it has
 * that, and RLIMIT_MEMLOCK.
 */
import { readFileSync, readlinkSync } from 'node:fs';

import { codeOf, esrch } from './errno.ts';
import { effectiveCapabilities, getRlimit, RLIMIT_MEMLOCK } from './libc/other-process.ts';

/** CAP_IPC_LOCK, linux/capability.h. */
const CAP_IPC_LOCK = 14;

/**
 * Whether thread `tid` of process `pid` has CAP_IPC_LOCK in its effective set, as capable() would
 * see it: a capability in a user namespace below ours does not count. False where the process has
 * no such thread.
 */
export function hasIpcLock(pid: number, tid = pid): boolean {
  return hasIpcLockWhereItIs(tid) && isInOurUserNamespace(pid, tid);
}

/** The same without a look at the user namespace: what the capability is worth depends on that. */
export function hasIpcLockWhereItIs(tid: number): boolean {
  return ((capabilitiesOf(tid) >>> CAP_IPC_LOCK) & 1) === 1;
}

function capabilitiesOf(tid: number): number {
  try {
    return effectiveCapabilities(tid);
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return 0;
    throw error;
  }
}

/** The name of our user namespace. A process of several threads, as ours, cannot leave it. */
let ourUserNamespace: string | undefined;

/** Whether thread `tid` of process `pid` is in our user namespace; false where there is none. */
export function isInOurUserNamespace(pid: number, tid: number): boolean {
  try {
    ourUserNamespace ??= readlinkSync('/proc/self/ns/user');
    return readlinkSync(`/proc/${pid}/task/${tid}/ns/user`) === ourUserNamespace;
  } catch {
    return false; // it is gone, or may not be looked at
  }
}

/** The soft RLIMIT_MEMLOCK of process `pid` in bytes; Infinity for none. */
export function memlockLimit(pid: number): number {
  try {
    const { soft } = getRlimit(pid, RLIMIT_MEMLOCK);
    return soft === 2n ** 64n - 1n ? Number.POSITIVE_INFINITY : Number(soft);
  } catch (error) {
    // prlimit(2) asks for CAP_SYS_RESOURCE when the process is another user's; the file does not.
    if (codeOf(error) !== 'EPERM') throw error;
  }
  const match = /^Max locked memory\s+(\d+|unlimited)/m.exec(readFileSync(`/proc/${pid}/limits`, 'latin1'));
  if (!match) throw esrch(`process ${pid} is gone`);
  return match[1] === 'unlimited' ? Number.POSITIVE_INFINITY : Number(match[1]);
}
