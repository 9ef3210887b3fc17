/** What processes that do nothing cost. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Nanoseconds of CPU time that the threads of a process have taken (proc(5), schedstat). */
function cpuNs(pid: number): number {
  const folder = `/proc/${pid}/task`;
  const ofThread = (tid: string): number => Number(readFileSync(`${folder}/${tid}/schedstat`, 'latin1').split(' ')[0]);
  return readdirSync(folder).reduce((sum, tid) => sum + ofThread(tid), 0);
}

/** How much of one CPU these processes take in `ms`, in percent. They start and end no thread. */
export async function shareOfCpu(pids: readonly number[], ms: number): Promise<number> {
  const taken = (): number => pids.reduce((sum, pid) => sum + cpuNs(pid), 0);
  const [begin, before] = [performance.now(), taken()];
  await sleep(ms);
  return (taken() - before) / 1e4 / (performance.now() - begin);
}
