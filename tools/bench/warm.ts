/**
 * Bench of the time after an update: the new image translates the guest's code anew. All is
 * measured in CPU time of the vCPU's thread. What else the host has to do does not count.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { liveUpdate } from '../clients/live-update.ts';
import type { QmpClient } from '../clients/qmp-client.ts';
import { Machine } from '../launch/machine.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { busyGuest, instructions } from './busy-guest.ts';
import { type Figure, median, type Progress } from './result.ts';

const UPDATES = 5;
/** Of CPU time: a look at the guest's speed, and how long it is looked at. */
const LOOK_MS = 4;
const LONG_MS = 600;
const RECOVERED = 0.9;

interface Sample {
  /** Of each thread, by its id. */
  readonly cpuMs: ReadonlyMap<string, number>;
  readonly instructions: number;
}

/** CPU time of the threads of a process (proc(5): schedstat, in ns). */
function threadsMs(pid: number): ReadonlyMap<string, number> {
  const tasks = `/proc/${pid}/task`;
  return new Map(
    readdirSync(tasks).flatMap((tid) => {
      try {
        return [[tid, Number(readFileSync(`${tasks}/${tid}/schedstat`, 'latin1').split(' ')[0]) / 1e6] as const];
      } catch {
        return []; // it has ended
      }
    }),
  );
}

async function sample(pid: number, qmp: QmpClient): Promise<Sample> {
  return { cpuMs: threadsMs(pid), instructions: await instructions(qmp) };
}

interface Point {
  readonly ms: number;
  readonly instructions: number;
}

/** What the thread that worked most has done since the first sample; it is the vCPU's. */
function vcpu(samples: readonly Sample[]): readonly Point[] {
  const [first, last] = [samples[0]!, samples.at(-1)!];
  const grown = (tid: string, { cpuMs }: Sample): number => (cpuMs.get(tid) ?? 0) - (first.cpuMs.get(tid) ?? 0);
  const [busiest] = [...last.cpuMs.keys()].sort((a, b) => grown(b, last) - grown(a, last));
  return samples.map((each) => ({
    ms: grown(busiest!, each),
    instructions: each.instructions - first.instructions,
  }));
}

/** Samples until the vCPU has had LONG_MS. */
async function watch(pid: number, qmp: QmpClient): Promise<readonly Point[]> {
  const samples = [await sample(pid, qmp)];
  for (;;) {
    await sleep(1);
    samples.push(await sample(pid, qmp));
    const points = vcpu(samples);
    if (points.at(-1)!.ms >= LONG_MS) return points;
  }
}

/** CPU time until some LOOK_MS go by at nearly this speed. */
function recoveredMs(points: readonly Point[], perMs: number): number {
  let from = points[0]!;
  for (const point of points) {
    const ms = point.ms - from.ms;
    if (ms < LOOK_MS) continue;
    if ((point.instructions - from.instructions) / ms >= RECOVERED * perMs) return from.ms;
    from = point;
  }
  return from.ms;
}

export async function benchWarm(progress: Progress): Promise<Figure[]> {
  const folder = new PrivateFolder();
  try {
    const machine = await Machine.start({ devices: [], memory: '64M', kernel: busyGuest(folder.path, 'wide') });
    try {
      const { qmp } = machine;
      const { pid } = machine.vmm;
      const recovered: number[] = [];
      const lost: number[] = [];
      for (let update = 1; update <= UPDATES; update++) {
        await progress(`the guest's speed after update ${update} of ${UPDATES}`);
        await watch(pid, qmp);
        const before = (await watch(pid, qmp)).at(-1)!;
        const perMs = before.instructions / before.ms;
        await liveUpdate(qmp);
        const points = await watch(pid, qmp);
        const after = points.at(-1)!;
        recovered.push(recoveredMs(points, perMs));
        lost.push(after.ms - after.instructions / perMs);
      }
      return [
        {
          what: 'after an update: CPU time until a guest of 256 loops has 90 % of its speed',
          value: median(recovered),
          unit: 'ms',
        },
        { what: 'after an update: CPU time that this guest loses in all', value: median(lost), unit: 'ms' },
      ];
    } finally {
      await machine.stop();
    }
  } finally {
    await folder.remove();
  }
}
