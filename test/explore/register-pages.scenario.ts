/**
 * iommu/abi/register-page.ts and iommu/bus/register-pages.ts: a client reaches registers by its
 * page, or by the kernel, as it comes; and the kernel takes the page away.
 */
import assert from 'node:assert/strict';
import { CONTROL_BYTES, DeviceControl } from '../../devices/kit/control.ts';
import { NEVER } from '../../devices/kit/device.ts';
import type { Dma } from '../../devices/kit/dma.ts';
import type { Endpoint } from '../../devices/kit/endpoint.ts';
import { DeviceLoop } from '../../devices/kit/loop.ts';
import { AWAKE, AWAY } from '../../iommu/abi/bell.ts';
import { DONE, RegisterPage, RegisterPageClient } from '../../iommu/abi/register-page.ts';
import { createPeerBox, PeerServer } from '../../iommu/bus/peer-cycles.ts';
import { createRegisterPages, RegisterPageServer, RegisterPageTable } from '../../iommu/bus/register-pages.ts';
import {
  MAILBOX_BYTES,
  MailboxClient,
  type MailboxHandler,
  MailboxServer,
  REGION_CONFIG,
} from '../../platform/mailbox.ts';
import { wholeOf } from '../../platform/shared.ts';
import { createSpinners, Spinners } from '../../platform/spinners.ts';
import { cpuModel, futexModel } from './futex-model.ts';
import { type ActorContext, defineScenario } from './scenario.ts';

/**
 * Words of `device`: its one register, the stores to it, 1 when the page is taken away, 1 when the
 * worker looks at the page, the loads.
 */
const REGISTER = 0;
const STORES = 1;
const GONE = 2;
const READY = 3;
const LOADS = 5;

const VALUE = 0x55;
const ONES = 0xffffffff;
const PATIENCE = { takeMs: 0.04, wakeMs: 0.04, doneMs: 0.04, looks: 1 };

function memory() {
  const table = createRegisterPages(1);
  const page = new SharedArrayBuffer(4096);
  const kernel = new RegisterPageTable(table);
  kernel.open(kernel.take(wholeOf(page), { sizes: [16, 0, 0, 0, 0, 0], widest: 4 })!);
  return { table, page, mailbox: new SharedArrayBuffer(MAILBOX_BYTES), device: new SharedArrayBuffer(64) };
}
type Words = ReturnType<typeof memory>;

const names = (buffer: string, word: number): string | undefined => {
  if (buffer === 'device')
    return { 0: 'register', 1: 'stores', 2: 'gone', 3: 'ready', 4: 'loads at 4', 5: 'loads', 8: 'loads at 8' }[word];
  if (buffer === 'page') return { 0: 'state', 16: 'attentive', 17: 'consumed', 34: 'produced' }[word];
  if (buffer === 'table') return { 0: 'used', 16: 'entry0.state' }[word];
  return word === 0 ? 'bell' : undefined;
};

/** A client's store and load of the register: by the page, else by the kernel. */
function client({ page, mailbox, device }: Words): void {
  Atomics.wait(new Int32Array(device), READY, 0);
  const kernel = new MailboxClient(mailbox);
  const registers = new RegisterPageClient(wholeOf(page), () => void kernel.read(REGION_CONFIG, 0, 4), PATIENCE);
  if (!registers.store(0, 4, 4, VALUE, 0)) kernel.write(0, 4, 4, VALUE);
  const value = registers.load(0, 4, 4) ? registers.lo : kernel.read(0, 4, 4).lo;
  assert.equal(value, VALUE, 'the load comes after the store');
}

/** A store alone. While the page is taken away it may be dropped: the BARs do not answer then. */
function storer({ page, mailbox, device }: Words, _: ActorContext, byPageOnly = false): void {
  Atomics.wait(new Int32Array(device), READY, 0);
  const kernel = new MailboxClient(mailbox);
  const registers = new RegisterPageClient(wholeOf(page), () => void kernel.read(REGION_CONFIG, 0, 4), PATIENCE);
  const posted = registers.store(0, 4, 4, VALUE, 0);
  if (!posted && !byPageOnly) kernel.write(0, 4, 4, VALUE);
}

/** A device worker that only its mailbox wakes: it looks at the pages, and then sleeps. */
function worker({ table, page, mailbox, device }: Words, context: ActorContext): void {
  const pages = new RegisterPageServer(table, page);
  const server = new MailboxServer(mailbox);
  const words = new Int32Array(device);
  const accesses = (byPage: boolean): MailboxHandler => ({
    read: (region) =>
      context.effect('load', () => {
        allowed(byPage);
        if (region !== REGION_CONFIG) words[LOADS]!++;
        return { lo: words[REGISTER]!, hi: 0 };
      }),
    write: (_region, _at, _size, lo) =>
      context.effect('store', () => {
        allowed(byPage);
        words[REGISTER] = lo;
        words[STORES]!++;
      }),
  });
  const allowed = (byPage: boolean): void => {
    assert.ok(!byPage || words[GONE] === 0, 'an access by a page that was taken away');
  };
  const fromPage = accesses(true);
  const fromKernel = accesses(false);
  const ordered: MailboxHandler = {
    read(region, at, size) {
      pages.makeStores(fromPage);
      return fromKernel.read(region, at, size);
    },
    write(region, at, size, lo, hi) {
      pages.makeStores(fromPage);
      fromKernel.write(region, at, size, lo, hi);
    },
  };
  pages.serve(fromPage);
  pages.setAttentive(AWAKE);
  Atomics.store(words, READY, 1);
  Atomics.notify(words, READY);
  let attentive = true;
  for (;;) {
    const seen = server.bell();
    pages.serve(fromPage);
    server.serve(ordered);
    if (attentive) {
      attentive = false;
      pages.setAttentive(AWAY);
      pages.serve(fromPage);
    }
    server.wait(seen, 1000);
  }
}

/** The kernel takes the page away, as iommu/kernel/vfio/pci/register-pages.ts. */
function revoker({ table, mailbox, device }: Words, context: ActorContext): void {
  const pages = new RegisterPageTable(table);
  Atomics.wait(new Int32Array(device), READY, 0);
  pages.beginClose(0);
  new MailboxClient(mailbox).read(REGION_CONFIG, 0, 2);
  pages.endClose(0);
  context.effect('the page is taken away', () => {
    new Int32Array(device)[GONE] = 1;
  });
}

/** Two loads that nobody waits for by the kernel: it has given the worker up, which comes late. */
function hastyLoader({ page, device }: Words): void {
  Atomics.wait(new Int32Array(device), READY, 0);
  const registers = new RegisterPageClient(wholeOf(page), () => {}, { ...PATIENCE, doneMs: 0 });
  for (const at of [4, 8]) {
    const value = registers.load(0, at, 4) ? registers.lo : ONES;
    assert.ok(value === at || value === ONES, 'the value of another load');
  }
}

/**
 * A worker that only looks at the page. Each register has its own offset as its value, and its
 * loads are counted in that word of `device`.
 */
function lateWorker({ table, page, device }: Words, context: ActorContext): void {
  const pages = new RegisterPageServer(table, page);
  const words = new Int32Array(device);
  const registers: MailboxHandler = {
    read: (_region, at) =>
      context.effect('load', () => {
        words[at]!++;
        return { lo: at, hi: 0 };
      }),
    write: () => {},
  };
  pages.serve(registers);
  pages.setAttentive(AWAKE);
  Atomics.store(words, READY, 1);
  Atomics.notify(words, READY);
  for (let look = 0; look < 4; look++) pages.serve(registers);
}

const parts = { file: import.meta.url, memory, names, daemons: ['worker'], libc: cpuModel };

export const accesses = defineScenario({
  ...parts,
  name: 'accesses',
  actors: { client, worker },
  check: ({ device }) => {
    const words = new Int32Array(device);
    assert.deepEqual([words[STORES], words[LOADS]], [1, 1], 'each access is made once');
  },
});

/** A store alone is made, although nothing comes after it. */
export const loneStore = defineScenario({
  ...parts,
  name: 'lone-store',
  actors: { storer, worker },
  check: ({ device }) => assert.equal(new Int32Array(device)[STORES], 1, 'the store is made once'),
});

/** Once the page is taken away, nothing passes by it. */
export const takenAway = defineScenario({
  ...parts,
  name: 'taken-away',
  actors: { storer: (words, context) => storer(words, context, true), revoker, worker },
});

/** A worker that comes late to a load does not answer the next one with its value. */
export const lateAnswer = defineScenario({
  file: import.meta.url,
  memory,
  names,
  name: 'late-answer',
  libc: cpuModel,
  actors: { hastyLoader, lateWorker },
  check: ({ device, page }) => {
    const words = new Int32Array(device);
    assert.ok(words[4]! <= 1 && words[8]! <= 1, 'no load is made twice');
    assert.notEqual(new Int32Array(page)[RegisterPage.word.state], DONE, 'the next load can be made');
  },
});

/** The device worker with its own loop, which sleeps where the client's bell wakes it. */
function sleeper({ table, page, mailbox, device, control }: BellWords, context: ActorContext): void {
  const words = new Int32Array(device);
  const endpoint = {
    read: (region: number) =>
      context.effect('load', () => {
        if (region !== REGION_CONFIG) words[LOADS]!++;
        return { lo: words[REGISTER]!, hi: 0 };
      }),
    write: (_region: number, _at: number, _size: number, lo: number) =>
      context.effect('store', () => {
        assert.equal(words[GONE], 0, 'an access by a page that was taken away');
        words[REGISTER] = lo;
        words[STORES]!++;
      }),
    run: () => NEVER,
  };
  new DeviceLoop({
    pages: new RegisterPageServer(table, page),
    spinners: new Spinners(createSpinners(), 0),
    endpoint: endpoint as unknown as Endpoint,
    mailbox,
    peers: new PeerServer(createPeerBox(), []),
    control: new DeviceControl(control),
    dma: { idle: () => {} } as unknown as Dma,
    clock: () => 0,
    pollMemory: () => {},
    announce: () => {
      Atomics.store(words, READY, 1);
      Atomics.notify(words, READY);
    },
  }).run();
}

/** The board wakes the worker for something else, by its mailbox alone. */
function kernelReader({ mailbox, device }: BellWords): void {
  Atomics.wait(new Int32Array(device), READY, 0);
  assert.equal(new MailboxClient(mailbox).read(REGION_CONFIG, 0, 4).lo, 0);
}

const bellMemory = () => ({
  ...memory(),
  control: new SharedArrayBuffer(CONTROL_BYTES),
  kick: new SharedArrayBuffer(4),
});
type BellWords = ReturnType<typeof bellMemory>;

const bellParts = {
  file: import.meta.url,
  memory: bellMemory,
  names: (buffer: string, word: number) => (buffer === 'page' && word === 35 ? 'bell' : names(buffer, word)),
  daemons: ['sleeper'],
  libc: ({ kick }: Record<string, SharedArrayBuffer>) => futexModel(kick!),
};

/** A store alone wakes a worker that sleeps. */
export const bellOfAStore = defineScenario({
  ...bellParts,
  name: 'bell-of-a-store',
  actors: { storer: (words: BellWords, context: ActorContext) => storer(words, context, true), sleeper },
  check: ({ device }) => assert.equal(new Int32Array(device!)[STORES], 1, 'the store is made once'),
});

/** Where Linux has no sleep on several words, a store that comes too late is made by the kernel. */
export const withoutBells = defineScenario({
  ...bellParts,
  name: 'without-bells',
  actors: { storer, sleeper },
  libc: ({ kick }) => ({ ...futexModel(kick!), hasFutexWaitAny: () => false }),
  check: ({ device }) => assert.equal(new Int32Array(device!)[STORES], 1, 'the store is made once'),
});

/** A store and a load, each of which may find the worker asleep. */
export const bellOfALoad = defineScenario({
  ...bellParts,
  name: 'bell-of-a-load',
  actors: { client, sleeper },
  check: ({ device }) => {
    const words = new Int32Array(device!);
    assert.deepEqual([words[STORES], words[LOADS]], [1, 1], 'each access is made once');
  },
});

/** A worker that sleeps on pages hears its mailbox, too. */
export const bellOfTheMailbox = defineScenario({
  ...bellParts,
  name: 'bell-of-the-mailbox',
  actors: { kernelReader, sleeper },
});

/** A page goes while its worker sleeps on it. */
export const bellTakenAway = defineScenario({
  ...bellParts,
  name: 'bell-taken-away',
  actors: { storer: (words: BellWords, context: ActorContext) => storer(words, context, true), revoker, sleeper },
});
