/** A run of QEMU from boot to its guest's last count: N updates with devices that go on DMAing. */
import { setTimeout as sleep } from 'node:timers/promises';

import type { GuestFacts } from '../../launch/guest-console.ts';
import type { DemoFacts, UpdateFacts } from '../facts.ts';
import type { Observer } from '../observer.ts';
import { unless } from '../verdict.ts';
import type { QemuMachine } from './machine.ts';

const COUNT_MS = 60_000;
/** Time between two updates, in which the devices and the guest must be seen going on. */
const INTERVAL_MS = 500;
/** QEMU tells no vaddr. */
const UNKNOWN = 'not told';

/** `updated` is told each update. An error of QEMU's ends the updates and is one of the facts. */
export async function runQemu(
  machine: QemuMachine,
  observer: Observer,
  updates: number,
  updated: (update: UpdateFacts) => void,
): Promise<DemoFacts> {
  const { pid } = machine;
  const done: UpdateFacts[] = [];
  const errors: string[] = [];
  let guest: GuestFacts | null = null;
  try {
    let { heartbeats } = await machine.console.stats(COUNT_MS);
    for (let index = 0; index < updates; index++) {
      await sleep(INTERVAL_MS);
      const before = observer.counters();
      const { goneNs, backNs } = await machine.update();
      await sleep((backNs - goneNs) / 1e6 + INTERVAL_MS); // a window as long as the pause, behind it
      const after = observer.counters();
      const now = await machine.console.stats(COUNT_MS);
      const update = {
        ...{ generation: index + 1, pid, vaddrOld: UNKNOWN, vaddrNew: UNKNOWN, phasesMs: {} },
        ...{ pauseMs: (backNs - goneNs) / 1e6, pauseStartNs: goneNs, pauseEndNs: backNs },
        pteWrites: after.pteWrites - before.pteWrites,
        tableWrites: observer.tableWrites(before),
        ...{ heartbeatsBefore: heartbeats, heartbeatsAfter: now.heartbeats },
        devices: observer.deviceFacts(goneNs, backNs, before, after),
      };
      heartbeats = now.heartbeats;
      done.push(update);
      updated(update);
    }
    guest = await machine.console.final(COUNT_MS);
  } catch (error) {
    errors.push((error as Error).message);
  }
  return {
    ...{ updatesWanted: updates, pid, updates: done, guest, errors },
    pteWritesDuringUpdates: done.reduce((sum, { pteWrites }) => sum + pteWrites, 0),
    ...{ interrupts: null, ramHashMatches: null },
  };
}

/** One line for each fact that is not as it should be. */
export function qemuFailures({ updates, updatesWanted, guest, pteWritesDuringUpdates, errors }: DemoFacts): string[] {
  return [
    ...errors,
    ...unless(updates.length === updatesWanted, `${updates.length} of ${updatesWanted} updates completed`),
    ...unless(pteWritesDuringUpdates === 0, `${pteWritesDuringUpdates} page-table words were written during updates`),
    ...updates.flatMap(updateFailures),
    ...unless(guest !== null, 'the guest never gave its final count'),
    ...unless(guest === null || guest.framesChecked > 0, 'the guest has seen no frame'),
    ...unless((guest?.framesLost ?? 0) === 0, `${guest?.framesLost} frames were lost`),
    ...unless((guest?.framesCorrupt ?? 0) === 0, `${guest?.framesCorrupt} frames were corrupt`),
  ];
}

function updateFailures({ generation, devices, heartbeatsBefore, heartbeatsAfter }: UpdateFacts): string[] {
  return [
    ...unless(heartbeatsAfter > heartbeatsBefore, `update ${generation}: the guest's heart stopped`),
    ...devices.flatMap(({ name, bdf, dmaDuringPause, faults }) => [
      ...unless(dmaDuringPause > 0, `update ${generation}: ${name} ${bdf} did no DMA while QEMU was away`),
      ...unless(faults === 0, `update ${generation}: ${faults} accesses of ${name} ${bdf} were refused`),
    ]),
  ];
}
