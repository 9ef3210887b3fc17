/** Facts about other processes that /proc tells to everybody. */
import { closeSync, openSync, readFileSync, readlinkSync, readSync } from 'node:fs';

/** Real, effective, saved and file system uid of process `pid`; undefined when there is none. */
export function uidsOf(pid: number): readonly number[] | undefined {
  return statusOf(pid, 'Uid')?.split('\t').map(Number);
}

/** The thread group (process) of thread `tid`; undefined when there is no such thread. */
export function processOf(tid: number): number | undefined {
  const tgid = statusOf(tid, 'Tgid');
  return tgid === undefined ? undefined : Number(tgid);
}

/** The parent of process `pid`; undefined when there is no such process. */
export function parentOf(pid: number): number | undefined {
  const parent = statusOf(pid, 'PPid');
  return parent === undefined ? undefined : Number(parent);
}

function statusOf(pid: number, field: string): string | undefined {
  try {
    return new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
  } catch {
    return undefined; // it is gone
  }
}

/** Field 39 of proc_pid_stat(5), counted from the state, which is field 3. */
const PROCESSOR = 36;

const statText = Buffer.alloc(1024);

/**
 * The CPU on which thread `tid` of process `pid` runs or waits to run; undefined when it sleeps, or
 * there is no such thread.
 */
export function cpuWanted(pid: number, tid: number): number | undefined {
  try {
    const fd = openSync(`/proc/${pid}/task/${tid}/stat`, 'r');
    try {
      const text = statText.toString('latin1', 0, readSync(fd, statText, 0, statText.length, 0));
      const fields = text.slice(text.lastIndexOf(') ') + 2).split(' '); // a name may have any bytes
      return fields[0] === 'R' ? Number(fields[PROCESSOR]) : undefined;
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined; // it is gone, or no fd is left
  }
}

/** Whether process `pid` lives in this process's PID namespace: pids mean the same to both. */
export function isInOurPidNamespace(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`) === readlinkSync('/proc/self/ns/pid');
  } catch {
    return false; // it is gone, or may not be looked at
  }
}
