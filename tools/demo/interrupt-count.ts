/** The count of interrupts at the end of a run: raised by devices, and taken by the VMM. */
import { setTimeout as sleep } from 'node:timers/promises';

import type { Machine } from '../launch/machine.ts';
import type { InterruptFacts } from './facts.ts';
import { interruptFacts, type Observer } from './observer.ts';

const COUNT_MS = 2_000;

/**
 * Counts interrupts. The devices are quiet by now, but the VMM's interrupt thread may still be
 * reading the last ones from the eventfds.
 */
export async function countInterrupts(machine: Pick<Machine, 'qmp'>, observer: Observer): Promise<InterruptFacts> {
  const deadline = performance.now() + COUNT_MS;
  for (;;) {
    const facts = interruptFacts(observer.interruptsRaised(), await delivered(machine));
    if (facts.lost === 0 || performance.now() > deadline) return facts;
    await sleep(50);
  }
}

async function delivered({ qmp }: Pick<Machine, 'qmp'>): Promise<number> {
  const { devices } = (await qmp.execute('x-interrupts')) as { devices: { delivered: number }[] };
  return devices.reduce((sum, { delivered }) => sum + delivered, 0);
}
