/** platform/mailbox.ts: several requesters and one server use the slots. */
import assert from 'node:assert/strict';
import { MAILBOX_BYTES, MailboxClient, type MailboxHandler, MailboxServer, ringBell } from '../../platform/mailbox.ts';
import { type ActorContext, defineScenario } from './scenario.ts';

const HEADER_WORDS = 32;
const SLOT_WORDS = 16;
const SLOTS = (MAILBOX_BYTES / 4 - HEADER_WORDS) / SLOT_WORDS;
const FIELDS = ['state', 'op', 'region', 'offset', 'size', 'lo', 'hi'];
const FREE = 0;
const CLAIMED = 1;
const ABANDONED = 4;

const stateOf = (slot: number): number => HEADER_WORDS + slot * SLOT_WORDS;

function names(buffer: string, word: number): string | undefined {
  if (buffer !== 'mailbox') return ['reads', 'writes', 'work', 'done'][word];
  if (word < HEADER_WORDS) return { 0: 'bell', 16: 'freed' }[word];
  const slot = Math.floor((word - HEADER_WORDS) / SLOT_WORDS);
  return `slot${slot}.${FIELDS[(word - HEADER_WORDS) % SLOT_WORDS]}`;
}

/**
 * The device's side words: register accesses it has seen, work posted to it by other means than a
 * slot.
 */
const READS = 0;
const WRITES = 1;
const WORK = 2;
const DONE = 3;

const memory = () => ({ mailbox: new SharedArrayBuffer(MAILBOX_BYTES), device: new SharedArrayBuffer(64) });
type Words = ReturnType<typeof memory>;

/** As `memory`, with all slots but the first in the hands of requesters that keep them. */
function crowded(): Words {
  const made = memory();
  for (let slot = 1; slot < SLOTS; slot++) new Int32Array(made.mailbox)[stateOf(slot)] = CLAIMED;
  return made;
}

/**
 * A device's loop as in devices/kit/loop.ts: answers a read of offset n with n + 1, and expects
 * that to be written.
 */
function serve({ mailbox, device }: Words, context: ActorContext, work: () => void = () => undefined): void {
  const server = new MailboxServer(mailbox);
  const words = new Int32Array(device);
  const handler: MailboxHandler = {
    read: (_region, offset) =>
      context.effect(`register ${offset} is read`, () => {
        words[READS]!++;
        return { lo: offset + 1, hi: 0 };
      }),
    write: (_region, offset, _size, lo) =>
      context.effect(`register ${offset} is written`, () => {
        assert.equal(lo, offset + 1, 'the value that was written');
        words[WRITES]!++;
      }),
  };
  for (;;) {
    const seen = server.bell();
    server.serve(handler);
    work();
    server.wait(seen, 1000);
  }
}

const ask = (mailbox: SharedArrayBuffer, offset: number): number => new MailboxClient(mailbox).read(0, offset, 4).lo;

/** Two questions: all ones if the time-out fired, else the right answer. */
function askTwice(mailbox: SharedArrayBuffer, first: number): void {
  for (const offset of [first, first + 4]) {
    const client = new MailboxClient(mailbox);
    const { lo } = client.read(0, offset, 4);
    assert.equal(lo, client.timeouts === 0 ? offset + 1 : 0xffffffff, `answer to the question for ${offset}`);
  }
}

const states = (mailbox: SharedArrayBuffer): number[] =>
  Array.from({ length: SLOTS }, (_, slot) => new Int32Array(mailbox)[stateOf(slot)]!);

/**
 * A read and a write: the reader gets the answer to its question, and the device sees each once and
 * with its value.
 */
export const twoRequesters = defineScenario({
  file: import.meta.url,
  name: 'two-requesters',
  memory,
  names,
  daemons: ['server'],
  actors: {
    cpu0: ({ mailbox }) => assert.equal(ask(mailbox, 0x10), 0x11, 'answer to cpu0'),
    cpu1: ({ mailbox }) => new MailboxClient(mailbox).write(0, 0x20, 4, 0x21),
    server: serve,
  },
  check: ({ mailbox, device }) => {
    assert.deepEqual([...new Int32Array(device, 0, 2)], [1, 1], 'each request is served once');
    assert.deepEqual(states(mailbox), Array(SLOTS).fill(FREE), 'all slots are free again');
  },
});

/** One free slot for two requesters: the second one sleeps until it is freed. */
export const exhaustion = defineScenario({
  file: import.meta.url,
  name: 'exhaustion',
  memory: crowded,
  names,
  daemons: ['server'],
  actors: {
    cpu0: ({ mailbox }) => assert.equal(ask(mailbox, 0x10), 0x11, 'answer to cpu0'),
    cpu1: ({ mailbox }) => assert.equal(ask(mailbox, 0x20), 0x21, 'answer to cpu1'),
    server: serve,
  },
  check: ({ mailbox }) => assert.equal(states(mailbox)[0], FREE, 'the slot is free again'),
});

/**
 * A requester whose time-outs may fire at any moment asks twice: all ones or the right answer, and
 * no slot is lost.
 */
export const abandon = defineScenario({
  file: import.meta.url,
  name: 'abandon',
  memory: crowded,
  names,
  timeouts: 'any',
  daemons: ['server'],
  actors: {
    cpu: ({ mailbox }) => askTwice(mailbox, 0x10),
    server: serve,
  },
  check: ({ mailbox }) => {
    const state = states(mailbox)[0]!;
    assert.ok(state === FREE || state === ABANDONED, `the slot is free, or the server will free it; it is ${state}`);
  },
});

/** Four requesters over two slots, all of whose time-outs may fire. */
export const crowd = defineScenario({
  file: import.meta.url,
  name: 'crowd',
  memory: () => {
    const made = crowded();
    new Int32Array(made.mailbox)[stateOf(1)] = FREE;
    return made;
  },
  names,
  timeouts: 'any',
  daemons: ['server'],
  actors: {
    cpu0: ({ mailbox }) => askTwice(mailbox, 0x10),
    cpu1: ({ mailbox }) => askTwice(mailbox, 0x20),
    cpu2: ({ mailbox }) => askTwice(mailbox, 0x30),
    cpu3: ({ mailbox }) => askTwice(mailbox, 0x40),
    server: serve,
  },
  check: ({ mailbox }) => {
    for (const state of states(mailbox).slice(0, 2)) {
      assert.ok(state === FREE || state === ABANDONED, `a slot is free, or the server will free it; it is ${state}`);
    }
  },
});

/**
 * Work by other means than a slot, as a stop or a change of the memory map: the ring is not lost
 * beside a request.
 */
export const otherWork = defineScenario({
  file: import.meta.url,
  name: 'other-work',
  memory,
  names,
  daemons: ['server'],
  actors: {
    cpu: ({ mailbox }) => assert.equal(ask(mailbox, 0x10), 0x11),
    board: ({ mailbox, device }) => {
      Atomics.store(new Int32Array(device), WORK, 1);
      ringBell(mailbox);
      while (Atomics.load(new Int32Array(device), DONE) === 0) Atomics.wait(new Int32Array(device), DONE, 0);
    },
    server: (words, context) =>
      serve(words, context, () => {
        const side = new Int32Array(words.device);
        if (Atomics.load(side, WORK) === 0) return;
        Atomics.store(side, DONE, 1);
        Atomics.notify(side, DONE);
      }),
  },
});
