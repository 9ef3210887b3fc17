/**
 * vmm/machine/control/control-block.ts: a crew at rest is relieved, and the next crew obeys the
 * same words. The crew here is an interrupt thread.
 */
import assert from 'node:assert/strict';

import { wholeOf } from '../../platform/shared.ts';
import { InterruptDispatcher } from '../../vmm/crew/interrupts/dispatcher.ts';
import type { InterruptShared } from '../../vmm/crew/interrupts/protocol.ts';
import { InterruptThread } from '../../vmm/crew/interrupts/thread.ts';
import {
  controlBytes,
  hartWords,
  MachineBlock,
  OWNER_HART,
  REQUEST_RUN,
  REQUEST_STOP,
} from '../../vmm/machine/control/control-block.ts';
import { relieveCrew } from '../../vmm/machine/control/lease.ts';
import { imsicBytes } from '../../vmm/machine/hart-local/imsic.ts';
import { INTERRUPT_ROUTES_BYTES } from '../../vmm/machine/shared/interrupt-routes.ts';
import { defineScenario, type LibcModel } from './scenario.ts';

const HOST_FILE = 3;
const KICK = 4;

/**
 * The worker is relieved before anybody may run: if it looks at an eventfd, it obeys what was meant
 * for the next one.
 */
const libc = (): LibcModel => ({
  eventfd: () => KICK,
  eventfdSignal: () => undefined,
  poll: () => assert.fail('one that was relieved looks at an eventfd'),
});

interface VmMemory extends Readonly<Record<string, SharedArrayBuffer>> {
  readonly control: SharedArrayBuffer;
  readonly imsic: SharedArrayBuffer;
  readonly routes: SharedArrayBuffer;
  /** One word: how often the worker said that it is parked. */
  readonly parked: SharedArrayBuffer;
}

const memory = (): VmMemory => ({
  control: new SharedArrayBuffer(controlBytes(1)),
  imsic: new SharedArrayBuffer(imsicBytes(1)),
  routes: new SharedArrayBuffer(INTERRUPT_ROUTES_BYTES),
  parked: new SharedArrayBuffer(64),
});

const sharedIn = ({ control, imsic, routes }: VmMemory): InterruptShared => ({
  control: wholeOf(control),
  imsic: wholeOf(imsic),
  routes: wholeOf(routes),
});

function worker(memory: VmMemory): void {
  const parked = new Int32Array(memory.parked);
  const shared = sharedIn(memory);
  new InterruptDispatcher({ shared, kick: KICK, hostFile: HOST_FILE }, () => {
    Atomics.add(parked, 0, 1);
    Atomics.notify(parked, 0);
  }).run();
}

/** As Vm.quiesce, Vm.relieve and then `next` do it. */
const main =
  (...next: readonly number[]) =>
  (memory: VmMemory): void => {
    const thread = new InterruptThread(sharedIn(memory), { hostFile: HOST_FILE });
    const parked = new Int32Array(memory.parked);
    while (Atomics.load(parked, 0) === 0) Atomics.wait(parked, 0, 0);
    relieveCrew(new Int32Array(memory.control));
    for (const request of [REQUEST_STOP, ...next]) thread.request(request);
  };

const WORDS = { ...MachineBlock.word, ...hartWords(OWNER_HART) };

const names = (buffer: string, word: number): string | undefined =>
  buffer === 'control' ? Object.entries(WORDS).find(([, index]) => index === word)?.[0] : undefined;

const relieved = { file: import.meta.url, memory, libc, names };

/**
 * The next crew is let run at once, perhaps just when the worker has waited long enough and looks
 * by itself.
 */
export const relievedAndRun = defineScenario({
  ...relieved,
  name: 'relieved-and-run',
  actors: { main: main(REQUEST_RUN), worker },
  timeouts: 'any',
});

/** The machine stays at rest: the relieved worker leaves nevertheless. */
export const relievedAtRest = defineScenario({
  ...relieved,
  name: 'relieved-at-rest',
  actors: { main: main(), worker },
});
