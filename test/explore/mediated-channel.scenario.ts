/**
 * iommu/bus/mediated-channel.ts and devices/kit/mediated-dma.ts: a device worker asks the kernel
 * for its memory accesses.
 */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { MessagePort } from 'node:worker_threads';
import { CONTROL_BYTES, DeviceControl } from '../../devices/kit/control.ts';
import { MediatedDma } from '../../devices/kit/mediated-dma.ts';
import { createPortCounters } from '../../iommu/bus/counters.ts';
import type { DoorbellTable } from '../../iommu/bus/interrupts.ts';
import { ChannelServer, createMediatedChannel, OP_READ } from '../../iommu/bus/mediated-channel.ts';
import type { Attention } from '../../iommu/kernel/core/attention.ts';
import { DeviceAccesses } from '../../iommu/kernel/mdev/device-accesses.ts';
import type { RwRequest } from '../../iommu/kernel/vfio/container-iommu.ts';
import type { DeviceGroup } from '../../iommu/kernel/vfio/device.ts';
import { efault } from '../../platform/errno.ts';
import { type FutexWord, futexWaitAny, futexWake } from '../../platform/libc/futex.ts';
import { MAILBOX_BYTES, MailboxClient, MailboxServer } from '../../platform/mailbox.ts';
import { createSpinners, Spinners } from '../../platform/spinners.ts';
import { futexModel } from './futex-model.ts';
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
const OTHER_CHANNEL_WORDS: Readonly<Record<number, string>> = {
  7: 'bell',
  16: 'attentive',
  32: 'done',
  33: 'refused',
  48: 'data',
};

function names(buffer: string, word: number): string | undefined {
  if (buffer === 'channel') return OTHER_CHANNEL_WORDS[word] ?? CHANNEL_WORDS[word];
  if (buffer === 'side') return ['told', 'valid', 'ram'][word];
  if (buffer === 'control') return { 0: 'stop' }[word];
  return word === 0 ? 'bell' : undefined;
}

function raise(words: Int32Array, at: number): void {
  Atomics.add(words, at, 1);
  Atomics.notify(words, at);
}

function dmaOf(
  { channel, mailbox, control, side }: Words,
  tell = () => raise(new Int32Array(side), TOLD),
): MediatedDma {
  const server = new MailboxServer(mailbox);
  return new MediatedDma({
    channel,
    mailbox,
    control: new DeviceControl(control),
    spinners: new Spinners(createSpinners(), 1),
    looks: 1,
    counters: createPortCounters(),
    serve: () => void server.serve({ read: (_region, offset) => ({ lo: offset + 1, hi: 0 }), write: () => undefined }),
    tell,
  });
}

/**
 * A kernel to which each request comes by a message. `sleep`: what dma_rw does before it touches
 * memory.
 */
function kernel({ channel, mailbox, side }: Words, sleep: () => void): void {
  const server = new ChannelServer(channel, mailbox);
  const words = new Int32Array(side);
  for (;;) {
    const told = Atomics.load(words, TOLD);
    for (let request = server.take(); request; request = server.take()) {
      const { op, vpn, length } = request;
      if (vpn !== HOLE) sleep();
      server.answer(access(words, vpn, server.data.subarray(0, length), op !== OP_READ) ? 0 : EFAULT);
    }
    Atomics.wait(words, TOLD, told);
  }
}

/** Reads or writes the client's memory, of one byte. False: nothing is there. */
function access(words: Int32Array, vpn: number, data: Uint8Array, write: boolean): boolean {
  if (vpn === HOLE) return false;
  if (write) Atomics.store(words, RAM, data[0]!);
  else data[0] = Atomics.load(words, RAM);
  return true;
}

const ATTENTION = {
  ...{ called: () => {}, answered: () => {}, dismiss: () => {}, place: () => undefined },
} as unknown as Attention;

/** The kernel's real half; after each message it looks at the channel before it sleeps again. */
function lookingKernel(memory: Words): void {
  const { accesses, port } = realHalf(memory);
  const words = new Int32Array(memory.side);
  for (;;) {
    const told = Atomics.load(words, TOLD);
    port.emit('message');
    accesses.setAttentive(true);
    accesses.serve();
    accesses.setAttentive(false);
    Atomics.wait(words, TOLD, told); // woken by the device's next message
  }
}

/** The same; it waits for the device's bell as iommu/kernel/core/bells.ts does. */
function rungKernel(memory: RingWords): void {
  const { accesses, port } = realHalf(memory);
  const words = new Int32Array(memory.side);
  for (;;) {
    const seen = Atomics.load(words, TOLD);
    port.emit('message');
    const bell = accesses.letRing();
    accesses.serve();
    futexWaitAny([bell, { ...toldWord(memory), seen }], Number.POSITIVE_INFINITY);
  }
}

function realHalf({ channel, mailbox, side }: Words): { accesses: DeviceAccesses; port: EventEmitter } {
  const words = new Int32Array(side);
  const port = new EventEmitter();
  const accesses = new DeviceAccesses({
    ...{ channel, mailbox },
    port: port as unknown as MessagePort,
    doorbells: {} as DoorbellTable,
    attention: ATTENTION,
  });
  const iommu = {
    dmaRw({ vpn, data, write }: RwRequest): boolean {
      if (!access(words, vpn, data, write)) throw efault('nothing is mapped');
      return false;
    },
  };
  accesses.opened({ nrDevices: 1, container: { iommu } } as unknown as DeviceGroup);
  return { accesses, port };
}

const ask = (mailbox: SharedArrayBuffer): number => new MailboxClient(mailbox).read(0, REGISTER, 4).lo;

/** A refused write, a read and a write: each gets its own answer, and its own bytes. */
export const accesses = defineScenario({
  file: import.meta.url,
  name: 'accesses',
  memory,
  names,
  daemons: ['kernel'],
  actors: { device: (words) => threeAccesses(words), kernel: (words) => kernel(words, () => undefined) },
});

/** The same with a kernel that begins to look, looks, and ceases to look, at any moment. */
export const accessesWhileItLooks = defineScenario({
  file: import.meta.url,
  name: 'accesses-while-it-looks',
  memory,
  names,
  daemons: ['kernel'],
  actors: { device: (words) => threeAccesses(words), kernel: lookingKernel },
});

const ringMemory = () => ({ ...memory(), kick: new SharedArrayBuffer(4) });
type RingWords = ReturnType<typeof ringMemory>;

const toldWord = ({ side }: Words): FutexWord => ({ words: new Int32Array(side), index: TOLD, shared: false });

/** The same with a kernel that the device rings, but for the first time. */
export const accessesThatRing = defineScenario<RingWords>({
  file: import.meta.url,
  name: 'accesses-that-ring',
  memory: ringMemory,
  names,
  daemons: ['kernel'],
  libc: ({ kick }) => futexModel(kick),
  actors: {
    device: (words) => {
      const tell = (): void => {
        Atomics.add(new Int32Array(words.side), TOLD, 1);
        futexWake(toldWord(words));
      };
      threeAccesses(words, tell);
    },
    kernel: rungKernel,
  },
});

function threeAccesses(words: Words, tell?: () => void): void {
  const dma = dmaOf(words, tell);
  assert.equal(dma.write(HOLE, 0, Uint8Array.of(7)), 0, 'a write that is refused');
  assert.equal(dma.write(1, 0, Uint8Array.of(9)), 1, 'a write');
  const byte = new Uint8Array(1);
  assert.equal(dma.read(1, 0, byte), 1, 'a read');
  assert.equal(byte[0], 9, 'what was read');
}

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
