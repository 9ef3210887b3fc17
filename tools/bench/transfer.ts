/** Bench of updates by transfer: the pause, and its phases, beside the bare start of a node. */
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

import { liveUpdate } from '../clients/live-update.ts';
import { Machine } from '../launch/machine.ts';
import { guestPath, programPath } from '../launch/programs.ts';
import { type Figure, median, type Progress } from './result.ts';

const UPDATES = 15;
const BETWEEN_MS = 500;

export async function benchTransfer(progress: Progress): Promise<Figure[]> {
  const machine = await Machine.start({
    devices: ['edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff', 'capture'],
    memory: '64M',
    kernel: guestPath('demo'),
    hostOptions: ['--vfio-profile', '6.12'], // where another process than the mapper may invalidate vaddrs
  });
  try {
    const bares: number[] = [];
    const pauses: number[] = [];
    const phases: Readonly<Record<string, number>>[] = [];
    for (let done = 0; done < UPDATES; done++) {
      await progress(`update ${done + 1} of ${UPDATES}`);
      bares.push(Number(execFileSync(process.execPath, [programPath('bare-exec')], { encoding: 'utf8' })) / 1e6);
      await sleep(BETWEEN_MS);
      const report = await liveUpdate(machine.qmp, { mode: 'transfer', probationMs: 0 });
      pauses.push(report.pauseMs);
      phases.push(report.phasesMs);
    }
    const pause = median(pauses);
    return [
      { what: 'pause of an update by transfer', value: pause, unit: 'ms', atMost: 3 },
      { what: 'pause by transfer / bare execve of node', value: pause / median(bares), unit: '×', atMost: 0.1 },
      ...Object.keys(phases[0]!).map((phase): Figure => {
        return { what: `of that: ${phase}`, value: median(phases.map((each) => each[phase]!)), unit: 'ms' };
      }),
    ];
  } finally {
    await machine.stop();
  }
}
