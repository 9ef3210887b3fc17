/**
 * Other processes: their fds, memory, capabilities and resource limits. A process may name itself.
 */
import { readFileSync } from 'node:fs';

import { codeOf, fromErrno } from '../errno.ts';
import { check, retry } from './check.ts';
import { c, lastErrno } from './ffi.ts';
import { vaddrOf } from './mmap.ts';

const SYS_PIDFD_SEND_SIGNAL = 424;
const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;
const PIDFD_THREAD = 0o200; // O_EXCL
const WNOHANG = 1;
export const RLIMIT_FSIZE = 1;
export const RLIMIT_CORE = 4;
export const RLIMIT_NOFILE = 7;
export const RLIMIT_MEMLOCK = 8;
export const RLIMIT_AS = 9;

/** A fd that refers to process `pid`; close it. ESRCH when there is none. */
export function pidfdOpen(pid: number): number {
  return check(Number(c.syscall(SYS_PIDFD_OPEN, pid, 0, 0, null, 0, 0)), `pidfd_open ${pid}`);
}

/**
 * A fd that poll(2) finds readable when thread `tid` has ended; close it. ESRCH when there is none.
 * EINVAL before Linux 6.9.
 */
export function pidfdOpenThread(tid: number): number {
  return check(Number(c.syscall(SYS_PIDFD_OPEN, tid, PIDFD_THREAD, 0, null, 0, 0)), `pidfd_open ${tid}`);
}

/**
 * Duplicates fd `target` of the process behind `pidfd`; needs the right to ptrace it (EPERM). EBADF
 * when it has no such fd.
 */
export function pidfdGetfd(pidfd: number, target: number): number {
  return check(Number(c.syscall(SYS_PIDFD_GETFD, pidfd, target >>> 0, 0, null, 0, 0)), `pidfd_getfd ${target}`);
}

/** Signals the process behind `pidfd`. ESRCH when it has ended and was waited for; EPERM. */
export function pidfdSendSignal(pidfd: number, signal: number): void {
  check(Number(c.syscall(SYS_PIDFD_SEND_SIGNAL, pidfd, signal, 0, null, 0, 0)), 'pidfd_send_signal');
}

/**
 * waitpid(2): waits until child `pid` has ended, and forgets it. For a child that Node does not
 * know, because an earlier image started it. ECHILD when it is no child of this process.
 */
export function waitForChild(pid: number): void {
  retry(() => c.waitpid(pid, null, 0), `waitpid ${pid}`);
}

/**
 * As waitForChild, but never waits. Returns the status of a child that has ended, as waitpid(2)
 * gives it; undefined: it runs.
 */
export function endedChild(pid: number): number | undefined {
  const status = new Int32Array(1);
  return retry(() => c.waitpid(pid, status, WNOHANG), `waitpid ${pid}`) === 0 ? undefined : status[0];
}

function transferVm(write: boolean, pid: number, vaddr: number, buf: Uint8Array): number {
  const local = new BigUint64Array([BigInt(vaddrOf(buf)), BigInt(buf.length)]);
  const remote = new BigUint64Array([BigInt(vaddr), BigInt(buf.length)]);
  const call = write ? c.process_vm_writev : c.process_vm_readv;
  return check(Number(call(pid, local, 1, remote, 1, 0)), write ? 'process_vm_writev' : 'process_vm_readv');
}

/**
 * Reads memory of another process; number of bytes (short at a hole after the first page). EFAULT,
 * ESRCH, EPERM.
 */
export function processVmRead(pid: number, vaddr: number, buf: Uint8Array): number {
  return transferVm(false, pid, vaddr, buf);
}

/** Writes memory of another process; as processVmRead. */
export function processVmWrite(pid: number, vaddr: number, buf: Uint8Array): number {
  return transferVm(true, pid, vaddr, buf);
}

const LINUX_CAPABILITY_VERSION_3 = 0x20080522;
/** For capget(2), one for the thread: the version and a pid; two of {effective, permitted, …}. */
const capHeader = new Uint32Array([LINUX_CAPABILITY_VERSION_3, 0]);
const capData = new Uint32Array(6);

/**
 * capget(2): the effective capabilities of process `pid`, as a bitmap of the first 32. ESRCH when
 * there is none.
 */
// HOT: once for each MAP_DMA (`npm run bench`, calls)
export function effectiveCapabilities(pid: number): number {
  capHeader[0] = LINUX_CAPABILITY_VERSION_3; // Linux writes its own there if it does not know ours
  capHeader[1] = pid;
  if (c.capget(capHeader, capData) < 0) throw fromErrno(lastErrno(), `capget ${pid}`);
  return capData[0]!;
}

export interface Rlimit {
  readonly soft: bigint;
  readonly hard: bigint;
}

/** prlimit(2): reads a resource limit of process `pid`; RLIM_INFINITY is 2^64−1. */
export function getRlimit(pid: number, resource: number): Rlimit {
  const old = new BigUint64Array(2);
  check(c.prlimit(pid, resource, null, old), `prlimit ${pid}`);
  return { soft: old[0]!, hard: old[1]! };
}

/** prlimit(2): sets a resource limit of process `pid`. */
export function setRlimit(pid: number, resource: number, limit: Rlimit): void {
  check(c.prlimit(pid, resource, new BigUint64Array([limit.soft, limit.hard]), null), `prlimit ${pid}`);
}

const SIGKILL_PENDING = 1n << 8n;
/** A process that is in exit(2) (linux/sched.h). */
const PF_EXITING = 4;

/**
 * Whether the process is dead, or nothing can keep it from dying: SIGKILL is on its way, or it is
 * in exit(2). The end of a large process takes a while.
 */
export function isEnding(pidfd: number): boolean {
  const pid = Number(/^Pid:\s*(-?\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${pidfd}`, 'latin1'))?.[1]);
  if (!(pid > 0)) return true; // somebody has waited for it
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    const pending = [...status.matchAll(/^(?:Sig|Shd)Pnd:\s*([0-9a-f]+)/gm)];
    if (/^State:\s*[ZX]/m.test(status) || pending.some(([, set]) => BigInt(`0x${set}`) & SIGKILL_PENDING)) return true;
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ');
    return (Number(fields[6]) & PF_EXITING) !== 0; // proc(5): flags
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ESRCH') return true; // it has gone meanwhile
    throw error;
  }
}
