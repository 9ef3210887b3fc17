/** What processes that do nothing cost. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import { median, type Progress } from './result.ts';

const WINDOW_MS = 3000;
const WINDOWS = 5;

/** Nanoseconds of CPU time that the threads of a process have taken (proc(5), schedstat). */
function cpuNs(pid: number): number {
  const folder = `/proc/${pid}/task`;
  const ofThread = (tid: string): number => Number(readFileSync(`${folder}/${tid}/schedstat`, 'latin1').split(' ')[0]);
  return readdirSync(folder).reduce((sum, tid) => sum + ofThread(tid), 0);
}

/**
 * How much of one CPU these processes take, in percent: the median of some windows. They start and
 * end no thread meanwhile. `what` is for the user.
 */
export async function shareOfCpu(pids: readonly number[], what: string, progress: Progress): Promise<number> {
  const taken = (): number => pids.reduce((sum, pid) => sum + cpuNs(pid), 0);
  const shares: number[] = [];
  for (let window = 1; window <= WINDOWS; window++) {
    await progress(`${what}: ${window} of ${WINDOWS}`);
    const [begin, before] = [performance.now(), taken()];
    await sleep(WINDOW_MS);
    shares.push((taken() - before) / 1e4 / (performance.now() - begin));
  }
  return median(shares);
}
