/** Replaces the VMM of a guest again and again while the guest works. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';

import type { QmpClient } from '../../tools/clients/qmp-client.ts';
import { updateEnded, type VmmProcess } from '../vmm/vmm-process.ts';

/** Time for one update, on any machine: the first one has taken 100 s where 22 wanted two CPUs. */
export const UPDATE_MS = 300_000;
const UPDATE_EVERY_MS = 1000;
/** From the guest's last word to the end of its VMM. */
const POWER_OFF_MS = 10_000;

/** One update, to its end. */
async function updateOnce(qmp: QmpClient): Promise<unknown> {
  const ended = qmp.nextEvent(updateEnded, UPDATE_MS);
  const [{ data }] = await Promise.all([ended, qmp.execute('live-update', { probation: 0 })]);
  return data.status;
}

/**
 * Updates the VMM every second until it has ended, on a busy machine less often: the guest shall
 * get on. Returns how many updates have completed. One that fails must have been ended by the
 * guest's power-off. `each` is told how many there have been.
 */
export async function keepUpdating(vmm: VmmProcess, each: (updates: number) => void = () => {}): Promise<number> {
  const qmp = await vmm.monitor();
  let over = false;
  void vmm.exited.then(() => {
    over = true;
  });
  let updates = 0;
  while (!over) {
    const from = performance.now();
    try {
      expect(await updateOnce(qmp)).toBe('completed');
      each(++updates);
    } catch (error) {
      await Promise.race([vmm.exited, sleep(POWER_OFF_MS)]);
      if (!over) throw error;
    }
    const pause = Math.max(UPDATE_EVERY_MS, 2 * (performance.now() - from));
    await Promise.race([vmm.exited, sleep(pause)]);
  }
  qmp.close();
  return updates;
}
