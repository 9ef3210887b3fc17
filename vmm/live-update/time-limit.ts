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

/** Calls `late` when process `pid` has had its time from now on. Returns how to stop. */
export function limitTime(pid: number, limit: TimeLimit, late: () => void): () => void {
  const time = new TimeLeft(pid, limit);
  let timer: NodeJS.Timeout;
  const look = (): void => {
    const { ms } = time;
    if (ms <= 0) late();
    else timer = setTimeout(look, Math.ceil(ms));
  };
  timer = setTimeout(look, Math.min(limit.ownMs, limit.allMs));
  return () => clearTimeout(timer);
}

/** What is left of a process' time, which begins now. */
export class TimeLeft {
  readonly #pid: number;
  readonly #limit: TimeLimit;
  readonly #beginNs = monotonicNs();
  /** What its threads have had before. */
  readonly #before: ReadonlyMap<string, ThreadTime>;

  constructor(pid: number, limit: TimeLimit) {
    this.#pid = pid;
    this.#limit = limit;
    this.#before = new Map(threadsOf(pid).map((thread) => [thread.tid, thread]));
  }

  /** At least so many ms; 0 or less: it has had its time. */
  get ms(): number {
    const passedMs = (monotonicNs() - this.#beginNs) / 1e6;
    const { ownMs, allMs } = this.#limit;
    return Math.min(ownMs - this.#ownMs(passedMs), allMs - passedMs);
  }

  /**
   * How much of the time that has passed was the process' own. While a thread runs or waits for a
   * CPU, only the time on CPUs counts, because Linux adds a wait up when it is over. Else it is all
   * but what the threads have waited: one that sleeps may sleep because another one has no CPU.
   */
  #ownMs(passedMs: number): number {
    const threads = threadsOf(this.#pid);
    const sum = (of: (thread: ThreadTime) => number): number =>
      threads.reduce((total, one) => total + of(one) - of(this.#before.get(one.tid) ?? NONE), 0);
    if (threads.some(({ runnable }) => runnable)) return sum(({ onCpuMs }) => onCpuMs);
    return passedMs - sum(({ queuedMs }) => queuedMs);
  }
}

interface ThreadTime {
  readonly tid: string;
  readonly runnable: boolean;
  readonly onCpuMs: number;
  readonly queuedMs: number;
}

const NONE = { tid: '', runnable: false, onCpuMs: 0, queuedMs: 0 };

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
      return { tid, runnable, onCpuMs: onCpuNs! / 1e6, queuedMs: queuedNs! / 1e6 };
    });
  } catch {
    return [];
  }
}
