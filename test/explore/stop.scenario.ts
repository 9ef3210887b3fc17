/**
 * vmm/crew/sleep-until.ts: in the pause of an update main sleeps until the interrupt thread has
 * parked, and until the vCPU has stopped, on the words that these write. The vCPU has just stopped
 * itself by an earlier request.
 */
import assert from 'node:assert/strict';

import { int32s, wholeOf } from '../../platform/shared.ts';
import { InterruptDispatcher } from '../../vmm/crew/interrupts/dispatcher.ts';
import type { InterruptShared } from '../../vmm/crew/interrupts/protocol.ts';
import { InterruptThread } from '../../vmm/crew/interrupts/thread.ts';
import { sleepUntil } from '../../vmm/crew/sleep-until.ts';
import { StoppedState } from '../../vmm/crew/vcpu/stopped-state.ts';
import {
  controlBytes,
  hartWords,
  MachineBlock,
  numberOf,
  OWNER_HART,
  REQUEST_RUN,
  REQUEST_STOP,
  requestWord,
} from '../../vmm/machine/control/control-block.ts';
import { Imsic, imsicBytes } from '../../vmm/machine/hart-local/imsic.ts';
import type { MachineState } from '../../vmm/machine/machine.ts';
import { InterruptRoutes } from '../../vmm/machine/shared/interrupt-routes.ts';
import { defineScenario, type LibcModel } from './scenario.ts';

const HOST_FILE = 3;
const KICK = 4;
const DEVICE = 5;
const IDENTITY = 7;
const FOR_EVER = Number.POSITIVE_INFINITY;
/** The request that the vCPU obeyed until it stopped itself, and main's next one. */
const [BEFORE, ASKED] = [1, 2];
/** What the interrupt thread does before main's first request. */
const DELIVER = requestWord(0, REQUEST_RUN);

const memory = () => ({
  control: new SharedArrayBuffer(controlBytes(1)),
  imsic: new SharedArrayBuffer(imsicBytes(1)),
  routes: new SharedArrayBuffer(256),
  stopped: new SharedArrayBuffer(192),
  /** The counts of two eventfds: the device's, and main's kick. */
  eventfds: new SharedArrayBuffer(8),
});
type Words = ReturnType<typeof memory>;

const sharedIn = ({ control, imsic, routes }: Words): InterruptShared => ({
  control: wholeOf(control),
  imsic: wholeOf(imsic),
  routes: wholeOf(routes),
});

const indexOf = (fd: number): number => (fd === DEVICE ? 0 : 1);

const libc = ({ eventfds }: Words): LibcModel => {
  const counts = new Int32Array(eventfds);
  return {
    eventfd: () => KICK,
    eventfdSignal: (fd: number) => counts[indexOf(fd)]!++,
    eventfdRead(fd: number) {
      const count = counts[indexOf(fd)]!;
      counts[indexOf(fd)] = 0;
      return count;
    },
    poll: () => [counts[1]! > 0 ? 1 : 0, 0, 0, counts[0]! > 0 ? 1 : 0],
  };
};

function withInterrupt(): Words {
  const words = memory();
  const control = int32s(wholeOf(words.control));
  control[MachineBlock.word.dispatch] = DELIVER;
  control[hartWords(OWNER_HART).request] = requestWord(BEFORE, REQUEST_STOP);
  const file = new Imsic(wholeOf(words.imsic), control, OWNER_HART);
  file.restore({ version: 1, delivery: 1, threshold: 0, pending: [], enabled: [1 << IDENTITY] });
  new InterruptRoutes(wholeOf(words.routes)).add({ eventfd: DEVICE, slot: 1, identity: IDENTITY, delivered: 0 });
  new Int32Array(words.eventfds)[indexOf(DEVICE)] = 1;
  return words;
}

/** A round of delivering, or none; then it sleeps until main wants something else. */
function interrupts(words: Words): void {
  const shared = sharedIn(words);
  const dispatcher = new InterruptDispatcher({ shared, kick: KICK, hostFile: HOST_FILE }, () => 0);
  while (dispatcher.turn(0) !== 'parked') {
    Atomics.wait(int32s(shared.control), MachineBlock.word.dispatch, DELIVER);
  }
}

function mainThatParks(words: Words): void {
  const shared = sharedIn(words);
  const thread = new InterruptThread(shared, { hostFile: HOST_FILE });
  const control = int32s(shared.control);
  const value = thread.request(REQUEST_STOP);
  sleepUntil({ words: control, index: MachineBlock.word.parked, value }, FOR_EVER);
  const routes = new InterruptRoutes(shared.routes);
  const [pending] = new Imsic(shared.imsic, control, OWNER_HART).save().pending;
  const counted = new Int32Array(words.eventfds)[indexOf(DEVICE)]!;
  assert.equal(routes.inHand, undefined, 'a route is in hand');
  assert.equal(counted + routes.save()[0]!.delivered, 1, 'the interrupt is counted once');
  assert.equal(pending, counted === 1 ? 0 : 1 << IDENTITY, 'it pends where it was counted');
}

export const parks = defineScenario({
  file: import.meta.url,
  name: 'parks',
  memory: withInterrupt,
  libc,
  actors: { main: mainThatParks, interrupts },
});

const NOTHING = { harts: [] } as unknown as MachineState;

/** It has stopped itself, and then sees main's request. */
function vcpu({ control, stopped }: Words): void {
  const words = int32s(wholeOf(control));
  const { request } = hartWords(OWNER_HART);
  const state = new StoppedState(wholeOf(stopped));
  state.put(BEFORE, { atNs: BEFORE, state: NOTHING });
  for (;;) {
    const number = numberOf(Atomics.load(words, request));
    if (number === ASKED) {
      state.put(ASKED, { atNs: ASKED, state: NOTHING });
      return;
    }
    Atomics.wait(words, request, requestWord(number, REQUEST_STOP));
  }
}

function mainThatStops({ control, stopped }: Words): void {
  const words = int32s(wholeOf(control));
  const { request } = hartWords(OWNER_HART);
  Atomics.store(words, request, requestWord(ASKED, REQUEST_STOP));
  Atomics.notify(words, request);
  const state = new StoppedState(wholeOf(stopped));
  state.sleepUntil(ASKED, FOR_EVER);
  assert.equal(state.take().atNs, ASKED, 'the state of an earlier stop');
}

export const stops = defineScenario({
  file: import.meta.url,
  name: 'stops',
  memory: withInterrupt,
  actors: { main: mainThatStops, vcpu },
});
