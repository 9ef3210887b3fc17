/** iommu/abi/call-page.ts: a client makes its calls by the page, or by the socket, as it comes. */
import assert from 'node:assert/strict';
import { CallPageClient, CallPageServer } from '../../iommu/abi/call-page.ts';
import type { FileRequest } from '../../iommu/abi/wire.ts';
import { futexWaitAny } from '../../platform/libc/futex.ts';
import { wholeOf } from '../../platform/shared.ts';
import { cpuModel, futexModel } from './futex-model.ts';
import { type ActorContext, defineScenario, inSteps } from './scenario.ts';

const OFFSETS = [0x10, 0x20];
/** The result of a call is its offset and one. */
const resultOf = (offset: number): number => offset + 1;

/** The socket: one word each way, 0 when nothing is on its way. */
const REQUEST = 0;
const REPLY = 1;
/** How often each call was carried out, by its index in OFFSETS. */
const CARRIED_OUT = 2;

const PATIENCE = { takeMs: 0.04, wakeMs: 0.01, sleepMs: Number.POSITIVE_INFINITY, answerMs: 0.04, looks: 1 };

const PAGE_WORDS: Readonly<Record<number, string>> = {
  0: 'state',
  16: 'attentive',
  32: 'op',
  35: 'lo',
  37: 'length',
  38: 'bell',
};

/** The kernel is attentive. */
function memory() {
  const page = new SharedArrayBuffer(4096);
  new CallPageServer(wholeOf(page)).setAttentive(true);
  return { page, socket: new SharedArrayBuffer(64) };
}
type Words = ReturnType<typeof memory>;

const names = (buffer: string, word: number): string | undefined =>
  buffer === 'page' ? PAGE_WORDS[word] : ['request', 'reply', 'first call', 'second call'][word];

function exchangeBySocket(socket: Int32Array, offset: number): number {
  Atomics.store(socket, REQUEST, offset);
  Atomics.notify(socket, REQUEST);
  return receive(socket);
}

function receive(socket: Int32Array): number {
  for (;;) {
    Atomics.wait(socket, REPLY, 0, 1000);
    const result = Atomics.exchange(socket, REPLY, 0);
    if (result !== 0) return result;
  }
}

function client({ page, socket }: Words): void {
  const calls = new CallPageClient(wholeOf(page), PATIENCE);
  const words = new Int32Array(socket);
  for (const offset of OFFSETS) {
    const passed = calls.pread(7, offset, 0);
    let result: number;
    if (passed === 'answered') result = calls.ret;
    else result = passed === 'refused' ? exchangeBySocket(words, offset) : receive(words);
    if (passed !== 'refused') calls.free();
    assert.equal(result, resultOf(offset), `result of the call at ${offset}, ${passed}`);
  }
}

/** Looks at the page as iommu/kernel/core/attention.ts does, and then at the socket. */
function kernel({ page, socket }: Words, context: ActorContext, sleeps: boolean): void {
  const server = new CallPageServer(wholeOf(page));
  const words = new Int32Array(socket);
  const carryOut = (offset: number): number =>
    context.effect(`call at ${offset}`, () => {
      words[CARRIED_OUT + OFFSETS.indexOf(offset)]!++;
      return resultOf(offset);
    });
  const reply = (result: number): void => {
    Atomics.store(words, REPLY, result);
    Atomics.notify(words, REPLY);
  };
  const serve = (request: FileRequest): void => {
    assert.equal(request.op, 'pread');
    const result = carryOut(Number((request as { offset: number }).offset));
    if (sleeps) server.leave();
    if (sleeps || !server.answer({ ret: result })) reply(result);
  };
  for (;;) {
    for (let look = 0; look < 2; look++) {
      const request = server.take();
      if (request) serve(request);
    }
    const offset = Atomics.exchange(words, REQUEST, 0);
    if (offset !== 0) reply(carryOut(offset));
    else Atomics.wait(words, REQUEST, 0, 1000); // a client that nobody looks at writes to its socket
  }
}

const parts = {
  file: import.meta.url,
  memory,
  names,
  daemons: ['kernel'],
  libc: cpuModel,
  check: ({ socket }: Words) => {
    assert.deepEqual([...new Int32Array(socket).slice(1, 4)], [0, 1, 1], 'each call is carried out once');
  },
};

/** The kernel answers at once; it looks at the page, or no more. */
export const answers = defineScenario({
  ...parts,
  name: 'answers',
  actors: { client, kernel: (words, context) => kernel(words, context, false) },
});

/** Calls that came by the page sleep. */
export const sleeps = defineScenario({
  ...parts,
  name: 'sleeps',
  actors: { client, kernel: (words, context) => kernel(words, context, true) },
});

const ringMemory = () => ({ ...memory(), kick: new SharedArrayBuffer(4) });
type RingWords = ReturnType<typeof ringMemory>;

/** It has no socket, and waits for ever. */
function ringer({ page }: RingWords): void {
  const forEver = Number.POSITIVE_INFINITY;
  const calls = new CallPageClient(wholeOf(page), { ...PATIENCE, takeMs: forEver, answerMs: forEver });
  for (const offset of OFFSETS) {
    assert.equal(calls.pread(7, offset, 0), 'answered');
    assert.equal(calls.ret, resultOf(offset), `result of the call at ${offset}`);
    calls.free();
  }
}

/** Waits for the bell, as iommu/kernel/core/bells.ts does. */
function rung({ page, socket }: RingWords, context: ActorContext): void {
  const server = new CallPageServer(wholeOf(page));
  const words = new Int32Array(socket);
  const serve = (): void => {
    const request = server.take() as { readonly offset: number } | undefined;
    if (!request) return;
    context.effect(`call at ${request.offset}`, () => words[CARRIED_OUT + OFFSETS.indexOf(request.offset)]!++);
    server.answer({ ret: resultOf(request.offset) });
  };
  for (;;) {
    const bell = server.letRing();
    serve();
    futexWaitAny([bell], Number.POSITIVE_INFINITY);
    serve();
  }
}

/** No ring is lost: a client that yields its CPU gets it back when the kernel sleeps. */
export const rings = defineScenario<RingWords>({
  ...parts,
  name: 'rings',
  memory: ringMemory,
  actors: { ringer, rung },
  daemons: ['rung'],
  timeouts: 'idle',
  libc: ({ kick, socket }) => ({
    ...futexModel(kick),
    yieldCpu: inSteps(() => void Atomics.wait(new Int32Array(socket), REQUEST, 0, 1)),
  }),
});
