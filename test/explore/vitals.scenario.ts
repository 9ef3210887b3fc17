/**
 * vmm/crew/recovery.ts: a VMM dies while a device interrupts. The interrupt thread takes the
 * interrupt from the eventfd, the hart claims it and counts it in RAM. At whatever moment both die,
 * the interrupt is somewhere once more, and RAM is as it was in the published state.
 */
import assert from 'node:assert/strict';

import { int32s, type SharedPart, uint8s, wholeOf, within } from '../../platform/shared.ts';
import { InterruptDispatcher } from '../../vmm/crew/interrupts/dispatcher.ts';
import { Publication } from '../../vmm/crew/publication.ts';
import { pendingInterrupts } from '../../vmm/crew/recovery.ts';
import { undoStores } from '../../vmm/crew/undo.ts';
import { controlBytes, MachineBlock, REQUEST_RUN, requestWord } from '../../vmm/machine/control/control-block.ts';
import { Imsic, imsicBytes } from '../../vmm/machine/hart-local/imsic.ts';
import { Journal, readJournal } from '../../vmm/machine/hart-local/journal.ts';
import { InterruptRoutes } from '../../vmm/machine/shared/interrupt-routes.ts';
import { defineScenario, type LibcModel } from './scenario.ts';

const HOST_FILE = 3;
const KICK = 4;
const DEVICE = 5;
const IDENTITY = 7;

/** Small ones: death copies them all in one step. */
const PART_BYTES = {
  control: controlBytes(1),
  imsic: imsicBytes(1),
  routes: 256,
  publication: 384,
  journal: 256,
  ram: 64,
} as const;
type Parts = Readonly<Record<keyof typeof PART_BYTES, SharedPart>>;

function partsOf(memory: SharedArrayBuffer): Parts {
  let at = 0;
  const parts = Object.entries(PART_BYTES).map(([name, size]) => {
    at += size;
    return [name, within(wholeOf(memory), at - size, size)];
  });
  return Object.fromEntries(parts) as Parts;
}

const ALL_BYTES = Object.values(PART_BYTES).reduce((sum, size) => sum + size, 0);

interface VmMemory extends Readonly<Record<string, SharedArrayBuffer>> {
  readonly vm: SharedArrayBuffer;
  /** One word: the count of the device's eventfd. */
  readonly eventfd: SharedArrayBuffer;
}

function memory(): VmMemory {
  const vm = new SharedArrayBuffer(ALL_BYTES);
  const { control, imsic, routes, journal } = partsOf(vm);
  const words = int32s(control);
  words[MachineBlock.word.dispatch] = requestWord(1, REQUEST_RUN);
  new Imsic(imsic, words, 0).restore({ version: 1, delivery: 1, threshold: 0, pending: [], enabled: [1 << IDENTITY] });
  new InterruptRoutes(routes).add({ eventfd: DEVICE, slot: 1, identity: IDENTITY, delivered: 0 });
  new Journal(journal).follow(0);
  const eventfd = new SharedArrayBuffer(4);
  new Int32Array(eventfd)[0] = 1;
  return { vm, eventfd };
}

const libc = ({ eventfd }: VmMemory): LibcModel => ({
  poll: () => [0, 0, 0, new Int32Array(eventfd)[0]! > 0 ? 1 : 0],
  eventfdRead: () => {
    const word = new Int32Array(eventfd);
    const count = word[0]!;
    word[0] = 0;
    return count;
  },
});

function interrupts({ vm }: VmMemory): void {
  new InterruptDispatcher({ shared: partsOf(vm), kick: KICK, hostFile: HOST_FILE }, () => undefined).turn(0);
}

/** Two slices, in the order of Publisher, from a state that whoever watches has. */
function hart({ vm }: VmMemory): void {
  const { control, imsic, publication, journal: part, ram } = partsOf(vm);
  const { machine: file } = new Imsic(imsic, int32s(control), 0);
  const states = new Publication(publication);
  const journal = new Journal(part);
  const counter = int32s(ram);
  file.journalTo(journal);
  states.give();
  journal.follow(states.published);
  states.begin();
  let handled = 0;
  for (let slice = 0; slice < 2; slice++) {
    if (file.claim() !== 0) {
      journal.store(0, 4, handled, 0, handled + 1, 0);
      counter[0] = ++handled;
    }
    states.publish(Uint8Array.of(handled));
    journal.follow(states.published);
  }
}

/**
 * All die in one step, the copy. The eventfd is looked at before: its count only falls, so nothing
 * is called lost that is not.
 */
function death({ vm, eventfd }: VmMemory, { effect }: { effect<T>(label: string, act: () => T): T }): void {
  const count = effect('the count that a successor finds', () => new Int32Array(eventfd)[0]!);
  const left = new SharedArrayBuffer(ALL_BYTES);
  new Uint8Array(left).set(uint8s(wholeOf(vm)).slice());

  const parts = partsOf(left);
  const states = new Publication(parts.publication);
  const state = states.take();
  assert.ok(state || !states.begun, 'it has run, and nobody knows from what state');
  const { claims } = state ? readJournal(parts.journal, state.number) : { claims: [] };
  const ram = new SharedArrayBuffer(PART_BYTES.ram);
  new Uint8Array(ram).set(uint8s(parts.ram));
  if (state) undoStores(parts.journal, state.number, ram);
  const [pending] = pendingInterrupts(parts, 1, { claims });
  const handled = state?.bytes?.[0] ?? 0; // 0 in the state that it was given
  const waits = (pending!.machine[0]! & (1 << IDENTITY)) !== 0 || count > 0;
  assert.ok(handled === 1 || waits, 'the interrupt is lost');
  assert.equal(new Int32Array(ram)[0], handled, 'RAM is not that of the state');
}

export const diesWhileADeviceInterrupts = defineScenario({
  file: import.meta.url,
  name: 'dies-while-a-device-interrupts',
  memory,
  libc,
  actors: { interrupts, hart, death },
});
