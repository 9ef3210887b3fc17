/**
 * iommu/abi/interrupt-page.ts and iommu/bus/posted-interrupts.ts: a worker's interrupts reach a
 * client once each, by the page while its thread runs, else by the eventfd; and the kernel takes
 * the page away.
 */
import assert from 'node:assert/strict';
import { InterruptPage, InterruptPageClient, SLEEPS } from '../../iommu/abi/interrupt-page.ts';
import { postInterrupt, takePosted } from '../../iommu/bus/posted-interrupts.ts';
import { futexWake } from '../../platform/libc/futex.ts';
import { wholeOf } from '../../platform/shared.ts';
import { Sleeper } from '../../vmm/crew/vcpu/sleeper.ts';
import { controlBytes, hartWords, OWNER_HART } from '../../vmm/machine/control/control-block.ts';
import { wakeHart } from '../../vmm/machine/control/lease.ts';
import { futexModel } from './futex-model.ts';
import { defineScenario } from './scenario.ts';

/**
 * Words of `board`: counts of the eventfd and of what the client has taken; whether the vector is
 * posted in the page; the worker's transactions that are under way; the worker has ended.
 */
const EVENTFD = 0;
const TAKEN = 1;
const PAGE = 2;
const BUSY = 3;
const ENDED = 4;

const VECTOR = 5;
const INTERRUPTS = 2;

function memory() {
  const board = new SharedArrayBuffer(64);
  new Int32Array(board)[PAGE] = 1;
  return { page: new SharedArrayBuffer(4096), board };
}
type Words = ReturnType<typeof memory>;

const names = (buffer: string, word: number): string | undefined => {
  if (buffer === 'board') return ['eventfd', 'taken', 'page', 'busy', 'ended'][word];
  if (word === InterruptPage.word.thread) return 'thread';
  if (word === InterruptPage.word.posted) return 'posted';
  return word === InterruptPage.word.counts + VECTOR ? 'count' : undefined;
};

/** As DoorbellTable.ring, within a transaction. In place of a futex there is a wait of Atomics. */
function worker({ page, board }: Words): void {
  const words = new Int32Array(board);
  const pages = new Int32Array(page);
  for (let i = 0; i < INTERRUPTS; i++) {
    Atomics.store(words, BUSY, 1);
    const isPosted = Atomics.load(words, PAGE) === 1;
    const signals = isPosted ? postInterrupt(pages, 0, VECTOR, (word) => void Atomics.notify(pages, word)) : 1;
    if (signals > 0) Atomics.add(words, EVENTFD, signals);
    Atomics.store(words, BUSY, 0);
    Atomics.notify(words, BUSY);
  }
  Atomics.store(words, ENDED, 1);
}

/** As a vCPU that runs, looks once, and goes to sleep: the eventfd would wake it. */
function client({ page, board }: Words): void {
  const words = new Int32Array(board);
  const interrupts = new InterruptPageClient(wholeOf(page));
  const deliver = (vector: number, count: number): void => {
    assert.equal(vector, VECTOR);
    Atomics.add(words, TAKEN, count);
  };
  interrupts.begin();
  interrupts.take(deliver);
  interrupts.end();
  interrupts.take(deliver);
}

/** As a vCPU that waits in WFI until it has each interrupt. */
function sleeper({ page, board }: Words): void {
  const words = new Int32Array(board);
  const pages = new Int32Array(page);
  const interrupts = new InterruptPageClient(wholeOf(page));
  const deliver = (_vector: number, count: number): void => void Atomics.add(words, TAKEN, count);
  while (Atomics.load(words, TAKEN) < INTERRUPTS) {
    interrupts.sleep();
    if (!interrupts.take(deliver)) Atomics.wait(pages, InterruptPage.word.thread, SLEEPS);
    interrupts.begin();
    interrupts.take(deliver);
  }
}

/** As Msi.post(undefined): no more is posted; a fence; what lies there signals the eventfd. */
function revoker({ page, board }: Words): void {
  const words = new Int32Array(board);
  Atomics.store(words, PAGE, 0);
  if (Atomics.load(words, BUSY) === 1) Atomics.wait(words, BUSY, 1);
  Atomics.add(words, EVENTFD, takePosted(new Int32Array(page), 0, VECTOR));
}

/** As a client that dies while it runs. */
function mortal({ page }: Words): void {
  new InterruptPageClient(wholeOf(page)).begin();
}

const arrived = ({ board }: Words): void => {
  const words = new Int32Array(board);
  assert.equal(words[EVENTFD]! + words[TAKEN]!, INTERRUPTS, 'each interrupt arrives once');
};

const parts = { file: import.meta.url, memory, names };

export const rest = defineScenario({ ...parts, name: 'rest', actors: { client, worker }, check: arrived });

/** The thread is never away, so no interrupt signals the eventfd. */
function neverAway() {
  const words = memory();
  new InterruptPageClient(wholeOf(words.page)).begin();
  return words;
}

export const asleep = defineScenario({
  ...parts,
  name: 'asleep',
  memory: neverAway,
  actors: { sleeper, worker },
  check: ({ board }) => assert.equal(new Int32Array(board)[TAKEN], INTERRUPTS, 'each interrupt arrives once'),
});

const NEWS = 5;

/** A vCPU's sleep in WFI: a device wakes it, and so does a thread of the VMM that has news. */
export const wakened = defineScenario({
  ...parts,
  name: 'wakened',
  memory: () => ({
    ...neverAway(),
    control: new SharedArrayBuffer(controlBytes(1)),
    kick: new SharedArrayBuffer(64),
  }),
  libc: ({ kick }) => futexModel(kick!),
  actors: {
    vcpu: ({ page, board, control }) => {
      const words = new Int32Array(board);
      const lines = new Int32Array(control);
      const interrupts = new InterruptPageClient(wholeOf(page));
      const sleeper = new Sleeper(lines, [wholeOf(page)]);
      const deliver = (_vector: number, count: number): void => void Atomics.add(words, TAKEN, count);
      for (;;) {
        const seen = Atomics.load(lines, hartWords(OWNER_HART).wake);
        interrupts.begin();
        interrupts.take(deliver);
        if (Atomics.load(words, NEWS) === 1 && Atomics.load(words, TAKEN) === 1) return;
        interrupts.sleep();
        if (!interrupts.take(deliver)) sleeper.sleep(seen, Number.POSITIVE_INFINITY);
      }
    },
    device: ({ page }) => {
      const words = new Int32Array(page);
      postInterrupt(words, 0, VECTOR, (index) => futexWake({ words, index, shared: true }));
    },
    main: ({ board, control }) => {
      Atomics.store(new Int32Array(board), NEWS, 1);
      wakeHart(new Int32Array(control), OWNER_HART);
    },
  },
});

export const revoked = defineScenario({
  ...parts,
  name: 'revoked',
  actors: { client, worker, revoker },
  check: arrived,
});

/** Whether the kernel's page is mapped where the thread looks. */
const MAPPED = 6;

/**
 * As a vCPU that goes to rest. It looks at a place where the kernel's page is mapped meanwhile
 * (ClientPages.interruptsLater): before that it speaks to itself.
 */
function early({ page, place, board }: Words & { readonly place: SharedArrayBuffer }): void {
  const words = new Int32Array(board);
  const there = (): InterruptPageClient =>
    new InterruptPageClient(wholeOf(Atomics.load(words, MAPPED) === 1 ? page : place));
  const deliver = (_vector: number, count: number): void => void Atomics.add(words, TAKEN, count);
  there().begin();
  there().take(deliver);
  there().sleep();
  there().take(deliver);
  there().begin();
  there().take(deliver);
  there().end();
  there().take(deliver);
}

/** The device posts as soon as the kernel has made the page, and the client maps it after that. */
export const late = defineScenario({
  ...parts,
  name: 'late',
  memory: () => ({
    page: new SharedArrayBuffer(4096),
    place: new SharedArrayBuffer(4096),
    board: new SharedArrayBuffer(64),
  }),
  actors: {
    early,
    worker,
    main: ({ board }) => {
      Atomics.store(new Int32Array(board), PAGE, 1);
      Atomics.store(new Int32Array(board), MAPPED, 1);
    },
  },
  check: arrived,
});

/** The kernel hears of a death when the client makes no more steps. */
export const death = defineScenario({
  ...parts,
  name: 'death',
  actors: {
    mortal: (words) => {
      mortal(words);
      revoker(words);
    },
    worker,
  },
  check: arrived,
});
