/** Bench of a machine that has nothing to do: eight devices, and a guest that sleeps. */
import { setTimeout as sleep } from 'node:timers/promises';

import { Machine } from '../launch/machine.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { busyGuest } from './busy-guest.ts';
import { shareOfCpu } from './cpu-time.ts';
import type { Figure, Progress } from './result.ts';

const DEVICES = ['edu', 'edu', 'capture', 'capture', 'capture', 'capture', 'mscribe', 'mscribe'];
/** After this the threads have started, and V8 compiles nothing more. */
const SETTLE_MS = 5000;

export async function benchIdle(progress: Progress): Promise<Figure[]> {
  const folder = new PrivateFolder();
  try {
    const machine = await Machine.start({
      devices: DEVICES,
      memory: '64M',
      kernel: busyGuest(folder.path, 'sleeping'),
    });
    try {
      await progress('a machine comes to rest');
      await sleep(SETTLE_MS);
      const pids = [machine.hostProcess.pid, machine.vmm.pid];
      const value = await shareOfCpu(pids, 'a machine that does nothing', progress);
      return [{ what: `CPU of an idle machine with ${DEVICES.length} devices`, value, unit: '% of one', atMost: 3 }];
    } finally {
      await machine.stop();
    }
  } finally {
    await folder.remove();
  }
}
