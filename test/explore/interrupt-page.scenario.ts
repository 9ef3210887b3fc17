/**
 * iommu/abi/interrupt-page.ts and iommu/bus/posted-interrupts.ts: a worker's interrupts reach a
 * client once each, by the page while its thread runs, else by the eventfd; and the kernel takes
 * the page away.
 */
import assert from 'node:assert/strict';
import { InterruptPage, InterruptPageClient } from '../../iommu/abi/interrupt-page.ts';
import { postInterrupt, takePosted } from '../../iommu/bus/posted-interrupts.ts';
import { wholeOf } from '../../platform/shared.ts';
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
  if (word === InterruptPage.word.awake) return 'awake';
  if (word === InterruptPage.word.posted) return 'posted';
  return word === InterruptPage.word.counts + VECTOR ? 'count' : undefined;
};

/** As DoorbellTable.ring, within a transaction. */
function worker({ page, board }: Words): void {
  const words = new Int32Array(board);
  for (let i = 0; i < INTERRUPTS; i++) {
    Atomics.store(words, BUSY, 1);
    const isPosted = Atomics.load(words, PAGE) === 1;
    const signals = isPosted ? postInterrupt(new Int32Array(page), 0, VECTOR) : 1;
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

export const revoked = defineScenario({
  ...parts,
  name: 'revoked',
  actors: { client, worker, revoker },
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
