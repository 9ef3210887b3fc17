/**
 * iommu/bus/mediated-channel.ts and devices/kit/mediated-dma.ts: a device worker asks the kernel
 * for its memory accesses.
 */
import assert from 'node:assert/strict';
import { CONTROL_BYTES, DeviceControl } from '../../devices/kit/control.ts';
import { MediatedDma } from '../../devices/kit/mediated-dma.ts';
import { createPortCounters } from '../../iommu/bus/counters.ts';
import { ChannelServer, createMediatedChannel, OP_READ } from '../../iommu/bus/mediated-channel.ts';
import { MAILBOX_BYTES, MailboxClient, MailboxServer } from '../../platform/mailbox.ts';
import { defineScenario } from './scenario.ts';

const EFAULT = 14;
const REGISTER = 0x10;
/** An iova page that nobody has mapped. */
const HOLE = 2 ** 33 + 3;

const memory = () => ({
  channel: createMediatedChannel(),
  mailbox: new SharedArrayBuffer(MAILBOX_BYTES),
  control: new SharedArrayBuffer(CONTROL_BYTES),
  side: new SharedArrayBuffer(64),
});
type Words = ReturnType<typeof memory>;

/**
 * Words of `side`: messages posted to the kernel; 1 once the vaddr is valid; what the client's
 * memory holds.
 */
const TOLD = 0;
const VALID = 1;
const RAM = 2;

const CHANNEL_WORDS = ['posted', 'op', 'vpnLo', 'vpnHi', 'offset', 'length', 'message'];

function names(buffer: string, word: number): string | undefined {
  if (buffer === 'channel') return { 16: 'done', 17: 'refused', 32: 'data' }[word] ?? CHANNEL_WORDS[word];
  if (buffer === 'side') return ['told', 'valid', 'ram'][word];
  if (buffer === 'control') return { 0: 'stop' }[word];
  return word === 0 ? 'bell' : undefined;
}

function raise(words: Int32Array, at: number): void {
  Atomics.add(words, at, 1);
  Atomics.notify(words, at);
}

function dmaOf({ channel, mailbox, control, side }: Words): MediatedDma {
  const server = new MailboxServer(mailbox);
  return new MediatedDma({
    channel,
    mailbox,
    control: new DeviceControl(control),
    counters: createPortCounters(),
    serve: () => void server.serve({ read: (_region, offset) => ({ lo: offset + 1, hi: 0 }), write: () => undefined }),
    tell: () => raise(new Int32Array(side), TOLD),
  });
}

/**
 * The loop of iommu/kernel/mdev/device-accesses.ts. `sleep`: what dma_rw does before it touches
 * memory.
 */
function kernel({ channel, mailbox, side }: Words, sleep: () => void): void {
  const server = new ChannelServer(channel, mailbox);
  const words = new Int32Array(side);
  for (;;) {
    const told = Atomics.load(words, TOLD);
    for (let request = server.take(); request; request = server.take()) {
      const { op, vpn, length } = request;
      if (vpn === HOLE) {
        server.answer(EFAULT);
        continue;
      }
      sleep();
      const at = server.data.subarray(0, length);
      if (op === OP_READ) at[0] = Atomics.load(words, RAM);
      else Atomics.store(words, RAM, at[0]!);
      server.answer(0);
    }
    Atomics.wait(words, TOLD, told);
  }
}

const ask = (mailbox: SharedArrayBuffer): number => new MailboxClient(mailbox).read(0, REGISTER, 4).lo;

/** A refused write, a read and a write: each gets its own answer, and its own bytes. */
export const accesses = defineScenario({
  file: import.meta.url,
  name: 'accesses',
  memory,
  names,
  daemons: ['kernel'],
  actors: {
    device: (words) => {
      const dma = dmaOf(words);
      assert.equal(dma.write(HOLE, 0, Uint8Array.of(7)), 0, 'a write that is refused');
      assert.equal(dma.write(1, 0, Uint8Array.of(9)), 1, 'a write');
      const byte = new Uint8Array(1);
      assert.equal(dma.read(1, 0, byte), 1, 'a read');
      assert.equal(byte[0], 9, 'what was read');
    },
    kernel: (words) => kernel(words, () => undefined),
  },
});

/**
 * The vaddr becomes valid only after a register has answered: the device must serve it while its
 * access sleeps.
 */
export const registersWhileAsleep = defineScenario({
  file: import.meta.url,
  name: 'registers-while-asleep',
  memory,
  names,
  daemons: ['kernel'],
  actors: {
    device: (words) => {
      const byte = new Uint8Array(1);
      assert.equal(dmaOf(words).read(1, 0, byte), 1);
      assert.equal(byte[0], 5, 'the byte of the new image');
    },
    kernel: (words) =>
      kernel(words, () => {
        const side = new Int32Array(words.side);
        while (Atomics.load(side, VALID) === 0) Atomics.wait(side, VALID, 0);
      }),
    vmm: ({ mailbox, side }) => {
      const words = new Int32Array(side);
      // the device is in its access
      while (Atomics.load(words, TOLD) === 0) Atomics.wait(words, TOLD, 0);
      assert.equal(ask(mailbox), REGISTER + 1, 'the register');
      Atomics.store(words, RAM, 5);
      raise(words, VALID);
    },
  },
});

/** The board stops a device whose access nobody will ever answer. */
export const stopWhileAsleep = defineScenario({
  file: import.meta.url,
  name: 'stop-while-asleep',
  memory,
  names,
  daemons: ['kernel'],
  actors: {
    device: (words) => assert.equal(dmaOf(words).read(1, 0, new Uint8Array(1)), 0),
    kernel: (words) =>
      kernel(words, () => {
        for (;;) Atomics.wait(new Int32Array(words.side), VALID, 0);
      }),
    board: ({ control, mailbox }) => new DeviceControl(control).requestStop(mailbox),
  },
});
