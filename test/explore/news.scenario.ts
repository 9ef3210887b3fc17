/**
 * devices/board/news/watch.ts, kit/control.ts, kit/loop.ts and virtio/function.ts: frames arrive in
 * a socket behind a device, and its driver gives buffers. The device takes each frame for which
 * there is a buffer, and sleeps through no news.
 */
import assert from 'node:assert/strict';
import { watchNews } from '../../devices/board/news/watch.ts';
import { CONTROL_BYTES, DeviceControl } from '../../devices/kit/control.ts';
import type { Bus } from '../../devices/kit/device.ts';
import type { Dma } from '../../devices/kit/dma.ts';
import type { Endpoint } from '../../devices/kit/endpoint.ts';
import { DeviceLoop } from '../../devices/kit/loop.ts';
import type { VirtioKind } from '../../devices/virtio/device.ts';
import { VirtioFunction } from '../../devices/virtio/function.ts';
import { REG } from '../../devices/virtio/regs.ts';
import { VIRTIO_BAR } from '../../devices/virtio/structures.ts';
import { createPeerBox, PeerServer } from '../../iommu/bus/peer-cycles.ts';
import { createRegisterPages, RegisterPageServer } from '../../iommu/bus/register-pages.ts';
import { MAILBOX_BYTES, MailboxClient } from '../../platform/mailbox.ts';
import { createSpinners, Spinners } from '../../platform/spinners.ts';
import { defineScenario, inSteps, type LibcModel } from './scenario.ts';

const FRAMES = 2;
const DRIVER_OK = 4;

/** Words of `wire`: frames that have come into the socket, and been taken out; buffers given. */
const ARRIVED = 0;
const TAKEN = 1;
const BUFFERS = 2;
/** 1: the entry of the socket in its epoll instance has an edge that nobody has taken. */
const EDGE = 3;

/** Fds of the news thread. */
const [ALL, NEWS, STOP] = [1, 2, 3];

interface Words extends Record<string, SharedArrayBuffer> {
  readonly mailbox: SharedArrayBuffer;
  readonly control: SharedArrayBuffer;
  readonly wire: SharedArrayBuffer;
}

/** epoll(7), as far as one edge-triggered entry behind another instance goes. */
function libc({ wire }: Words): LibcModel {
  const words = new Int32Array(wire);
  return {
    epollCreate: () => ALL,
    epollAdd: () => undefined,
    epollWait: inSteps((epoll: number) => {
      if (epoll === NEWS) return Atomics.exchange(words, EDGE, 0) === 0 ? [] : [NEWS];
      while (Atomics.load(words, EDGE) === 0) Atomics.wait(words, EDGE, 0);
      return [NEWS];
    }),
  };
}

/** A kind of device with one queue: it takes a frame out of the socket for each buffer. */
const receiver = (wire: Int32Array): VirtioKind => ({
  id: 1,
  classCode: 0,
  features: 0n,
  queueSizes: [8],
  config: new Uint8Array(),
  work: () => {
    for (;;) {
      const taken = Atomics.load(wire, TAKEN);
      if (taken === Atomics.load(wire, BUFFERS) || taken === Atomics.load(wire, ARRIVED)) return;
      Atomics.store(wire, TAKEN, taken + 1);
    }
  },
  pending: () => [0],
});

function device({ mailbox, control, wire }: Words): void {
  const dma = { idle: () => undefined } as unknown as Dma;
  const bus = {
    dma,
    interrupts: { setLevel: () => undefined },
    config: { command: () => true },
    clock: () => 0,
    control: new DeviceControl(control),
  } as unknown as Bus;
  const fn = new VirtioFunction(bus, receiver(new Int32Array(wire)), 0);
  const registers = fn.bars[VIRTIO_BAR]!;
  registers.write(REG.QUEUE_ENABLE, 2, 1, 0);
  registers.write(REG.DEVICE_STATUS, 1, DRIVER_OK, 0);
  const endpoint = {
    write: (_region: number, offset: number, size: number, lo: number) => registers.write(offset, size, lo, 0),
    run: () => fn.run(),
  };
  new DeviceLoop({
    pages: new RegisterPageServer(createRegisterPages(), new SharedArrayBuffer(0)),
    spinners: new Spinners(createSpinners()),
    endpoint: endpoint as unknown as Endpoint,
    mailbox,
    peers: new PeerServer(createPeerBox(), []),
    control: bus.control,
    dma,
    clock: () => 0,
    pollMemory: () => undefined,
    announce: () => undefined,
  }).run();
}

export const frames = defineScenario<Words>({
  file: import.meta.url,
  name: 'frames',
  memory: () => ({
    mailbox: new SharedArrayBuffer(MAILBOX_BYTES),
    control: new SharedArrayBuffer(CONTROL_BYTES),
    wire: new SharedArrayBuffer(64),
  }),
  libc,
  names: (buffer, word) =>
    buffer === 'wire'
      ? ['arrived', 'taken', 'buffers', 'edge'][word]
      : buffer === 'mailbox'
        ? { 0: 'bell', 16: 'freed' }[word]
        : { 0: 'stop', 1: 'halt', 5: 'news', 16: 'state' }[word],
  daemons: ['news', 'device'],
  actors: {
    peer: ({ wire }) => {
      const words = new Int32Array(wire);
      for (let i = 0; i < FRAMES; i++) {
        Atomics.add(words, ARRIVED, 1);
        Atomics.store(words, EDGE, 1);
        Atomics.notify(words, EDGE);
      }
    },
    driver: ({ mailbox, wire }) => {
      for (let i = 0; i < FRAMES; i++) {
        Atomics.add(new Int32Array(wire), BUFFERS, 1);
        new MailboxClient(mailbox).write(VIRTIO_BAR, REG.QUEUE_NOTIFY, 2, 0);
      }
    },
    news: ({ mailbox, control }) => watchNews({ devices: [{ news: NEWS, control, mailbox }], stop: STOP }),
    device,
  },
  check: ({ wire }) => {
    assert.equal(new Int32Array(wire)[TAKEN], FRAMES, 'frames that were taken');
  },
});
