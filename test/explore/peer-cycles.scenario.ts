/**
 * iommu/bus/peer-cycles.ts and the ports on it: devices reach each other's registers, and none of
 * these accesses is made when it was given up, or when its mapping is gone.
 */
import assert from 'node:assert/strict';
import {
  closePeerBox,
  createPeerBox,
  type PeerHandler,
  PeerRequester,
  PeerServer,
} from '../../iommu/bus/peer-cycles.ts';
import { MAILBOX_BYTES, MailboxClient, MailboxServer } from '../../platform/mailbox.ts';
import {
  boardMemory,
  names as boardNames,
  clearLeaf,
  GSCID,
  kernel,
  MSI_VPN,
  type PeerMemory,
  port,
  VPN,
} from './iommu-board.ts';
import { type ActorContext, defineScenario } from './scenario.ts';

const SLOT_WORDS = 16;
const HEADER_WORDS = 16;
const FIELDS = ['state', 'isWrite', 'bar', 'at', 'size', 'lo', 'hi', 'answered'];

const memory = () => ({
  box0: createPeerBox(),
  box1: createPeerBox(),
  mailbox0: new SharedArrayBuffer(MAILBOX_BYTES),
  mailbox1: new SharedArrayBuffer(MAILBOX_BYTES),
  side: new SharedArrayBuffer(64),
});
type Words = ReturnType<typeof memory>;

/** Words of `side`. */
const ANSWERS = 0; // answers that the devices have got
const ASKING = 1; // 1 while the requester waits for its answer
const GONE = 2; // 1 when the mapping is gone

function names(buffer: string, word: number): string | undefined {
  if (buffer === 'side') return ['answers', 'asking', 'gone'][word];
  if (buffer.startsWith('mailbox')) return word === 0 ? `${buffer}.bell` : undefined;
  if (!buffer.startsWith('box')) return boardNames(buffer, word);
  if (word < HEADER_WORDS) return `${buffer}.posted`;
  const field = FIELDS[(word - HEADER_WORDS) % SLOT_WORDS];
  return `${buffer}.slot${Math.floor((word - HEADER_WORDS) / SLOT_WORDS)}.${field}`;
}

const peerOf = ({ box0, box1, mailbox0, mailbox1 }: Words, number: number): PeerMemory =>
  number === 0 ? { box: box0, mailbox: mailbox0 } : { box: box1, mailbox: mailbox1 };

/** Registers that read as their offset + 1. */
const REGISTERS: PeerHandler = {
  answers: () => true,
  read: (_bar, at) => ({ lo: at + 1, hi: 0 }),
  write: () => undefined,
};

const serverOf = (words: Words, number: number): PeerServer =>
  new PeerServer(peerOf(words, number).box, [words.mailbox0, words.mailbox1]);

/** Serves for ever, as devices/kit/loop.ts. */
function serveOn(words: Words, number: number, serve: () => void): void {
  const server = new MailboxServer(peerOf(words, number).mailbox);
  for (;;) {
    const seen = server.bell();
    serve();
    server.wait(seen, 1000);
  }
}

/** A device that reads a register of the other one, and serves its own. */
function device(words: Words, number: 0 | 1): void {
  const { mailbox } = peerOf(words, number);
  const server = serverOf(words, number);
  const serve = (): void => server.serve(REGISTERS);
  const requester = new PeerRequester({ number, mailbox, serve, stopping: () => false });
  const value = requester.read({ bar: 0, ...peerOf(words, 1 - number) }, 8 * number, 4);
  assert.deepEqual(value, { lo: 8 * number + 1, hi: 0 }, `the answer to device ${number}`);
  const side = new Int32Array(words.side);
  Atomics.add(side, ANSWERS, 1);
  Atomics.notify(side, ANSWERS);
  serveOn(words, number, serve);
}

/** Two devices ask each other at once: both get their answers. */
export const eachOther = defineScenario({
  file: import.meta.url,
  name: 'each-other',
  memory,
  names,
  daemons: ['device0', 'device1'],
  actors: {
    device0: (words) => device(words, 0),
    device1: (words) => device(words, 1),
    observer: ({ side }) => {
      const words = new Int32Array(side);
      for (let n = Atomics.load(words, ANSWERS); n < 2; n = Atomics.load(words, ANSWERS)) {
        Atomics.wait(words, ANSWERS, n);
      }
    },
  },
});

/**
 * A requester whose time-outs may fire at any moment asks three times. What it has given up is
 * never made, and it gets no other question's answer.
 */
export const givenUp = defineScenario({
  file: import.meta.url,
  name: 'given-up',
  memory,
  names,
  timeouts: 'any',
  daemons: ['device1'],
  actors: {
    device0: (words, context) => {
      const serve = (): void => undefined;
      const requester = new PeerRequester({ number: 0, mailbox: words.mailbox0, serve, stopping: () => false });
      const asking = (on: number): void =>
        context.effect(on ? 'asks' : 'asks no more', () => {
          new Int32Array(words.side)[ASKING] = on;
        });
      for (const at of [0, 8, 16]) {
        asking(1);
        const value = requester.read({ bar: 0, ...peerOf(words, 1) }, at, 4);
        asking(0);
        if (value) assert.equal(value.lo, at + 1, `the answer for ${at}`);
      }
    },
    device1: (words, context) => serveOn(words, 1, serveWhile(words, context, ASKING, 1)),
  },
});

/** The worker of the device that is asked ends in the middle of an access: the board says so. */
export const endedServer = defineScenario({
  file: import.meta.url,
  name: 'ended-server',
  memory,
  names,
  actors: {
    device0: (words) => {
      const serve = (): void => undefined;
      const requester = new PeerRequester({ number: 0, mailbox: words.mailbox0, serve, stopping: () => false });
      for (const at of [0, 8]) {
        assert.equal(requester.read({ bar: 0, ...peerOf(words, 1) }, at, 4), undefined, 'nobody is there any more');
      }
    },
    // its thread ends in the handler, and the board sees the end
    device1: (words) => {
      const server = new MailboxServer(words.mailbox1);
      const seen = server.bell();
      if (seen === 0) server.wait(seen, 1000);
      const end = (): never => {
        throw new Error('the end');
      };
      try {
        serverOf(words, 1).serve({ ...REGISTERS, read: end });
      } catch {
        // the end of its worker
      }
      closePeerBox(words.box1, [words.mailbox0, words.mailbox1]);
    },
  },
});

/** Serves device 1, and fails when an access is made while a word of `side` has another value. */
function serveWhile(words: Words, context: ActorContext, word: number, value: number): () => void {
  const server = serverOf(words, 1);
  const look = (what: string): void =>
    context.effect(`a register is ${what}`, () => {
      assert.equal(new Int32Array(words.side)[word], value, 'an access is made that must not be');
    });
  const handler: PeerHandler = {
    answers: () => true,
    read: (_bar, at) => {
      look('read');
      return { lo: at + 1, hi: 0 };
    },
    write: () => look('written'),
  };
  return () => server.serve(handler);
}

/**
 * The kernel unmaps the registers of device 1 while device 0 writes there. Meanwhile a CPU makes
 * device 0 interrupt, in the middle of that write.
 */
export const unmapAgainstPeer = defineScenario({
  file: import.meta.url,
  name: 'unmap-against-peer',
  memory: () => ({ ...memory(), ...boardMemory(1) }),
  names,
  daemons: ['device0', 'device1'],
  actors: {
    device0: (words) => {
      const { mailbox } = peerOf(words, 0);
      const own = new MailboxServer(mailbox);
      const serve = (): void =>
        void own.serve({ read: () => ({ lo: 0, hi: 0 }), write: () => void dma.write32(MSI_VPN, 0, 0) });
      const requester = new PeerRequester({
        number: 0,
        mailbox,
        serve: () => dma.inside(serve),
        stopping: () => false,
      });
      const dma = port(words, 0, { peer: peerOf(words, 1), requester });
      dma.write(VPN, 0, new Uint8Array(8));
      dma.idle();
      serveOn(words, 0, () => {
        serve();
        dma.idle();
      });
    },
    device1: (words, context) => serveOn(words, 1, serveWhile(words, context, GONE, 0)),
    cpu: (words) => new MailboxClient(words.mailbox0).write(0, 0, 4, 1),
    kernel: (words, context) => {
      clearLeaf(words);
      const { commands } = kernel(words);
      commands.invalidateLeaf(GSCID, VPN);
      commands.fence();
      context.effect('the mapping is gone', () => {
        new Int32Array(words.side)[GONE] = 1;
      });
    },
  },
});
