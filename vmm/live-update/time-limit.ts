/**
 * Limits the time of another process. Time in which it could run but had no CPU does not count: a
 * busy machine is not the process' fault.
 */
import { readdirSync, readFileSync } from 'node:fs';

import { monotonicNs } from '../../platform/clock.ts';

export interface TimeLimit {
  /** Time of its own. */
  readonly ownMs: number;
  /** Time in all, with the time without a CPU. */
  readonly allMs: number;
}

/** Calls `late` when process `pid` has had its time. Returns how to stop. */
export function limitTime(pid: number, { ownMs, allMs }: TimeLimit, late: () => void): () => void {
  const begin = monotonicNs();
  let timer: NodeJS.Timeout;
  const look = (): void => {
    const passedMs = (monotonicNs() - begin) / 1e6;
    const leftMs = Math.min(ownMs - ownTime(pid, passedMs), allMs - passedMs);
    if (leftMs <= 0) late();
    else timer = setTimeout(look, Math.ceil(leftMs));
  };
  timer = setTimeout(look, Math.min(ownMs, allMs));
  return () => clearTimeout(timer);
}

/**
 * How much of the time that has passed was the process' own. While a thread runs or waits for a
 * CPU, only the time on CPUs counts, because Linux adds a wait up when it is over. Else it is all
 * but what the threads have waited: one that sleeps may sleep because another one has no CPU.
 */
function ownTime(pid: number, passedMs: number): number {
  const threads = threadsOf(pid);
  const sum = (of: (thread: ThreadTime) => number): number => threads.reduce((total, one) => total + of(one), 0);
  if (threads.some(({ runnable }) => runnable)) return sum(({ onCpuMs }) => onCpuMs);
  return passedMs - sum(({ queuedMs }) => queuedMs);
}

interface ThreadTime {
  readonly runnable: boolean;
  readonly onCpuMs: number;
  readonly queuedMs: number;
}

/**
 * Each thread's state (proc_pid_stat(5)) and the first two numbers of its schedstat
 * (Documentation/scheduler/sched-stats.rst). Empty for a process that is gone, and where Linux does
 * not count this.
 */
function threadsOf(pid: number): ThreadTime[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map((tid) => {
      const stat = readFileSync(`/proc/${pid}/task/${tid}/stat`, 'latin1');
      const [onCpuNs, queuedNs] = readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'latin1').split(' ').map(Number);
      const runnable = stat.startsWith('R', stat.lastIndexOf(')') + 2);
      return { runnable, onCpuMs: onCpuNs! / 1e6, queuedMs: queuedNs! / 1e6 };
    });
  } catch {
    return [];
  }
}
