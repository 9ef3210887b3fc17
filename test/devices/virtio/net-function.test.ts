/** virtio-net as a function of the board, with a socket behind it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { parseProperties } from '../../../devices/kit/properties.ts';
import { MAX_FRAME } from '../../../devices/virtio/net.ts';
import { device as virtioNet } from '../../../devices/virtio-net/device.ts';
import { epollCreate, epollWait } from '../../../platform/libc/epoll.ts';
import { close } from '../../../platform/libc/fd.ts';
import { bindDatagram, receiveDatagram, sendDatagram } from '../../../platform/libc/unix-datagram.ts';
import { connectUnixNow, receiveNow, sendAll, unixAddress } from '../../../platform/libc/unix-socket.ts';
import { MAILBOX_BYTES } from '../../../platform/mailbox.ts';
import type { Bench } from '../bench.ts';
import { DriverQueue, type PlainMemory } from './driver.ts';
import {
  AF_CTRL,
  bringUpByRegisters,
  COMMON,
  CONFIG_AT,
  DRIVER_OK,
  NEEDS_RESET,
  notify,
  offeredFeatures,
  type VirtioRegisters,
} from './pci-driver.ts';
import { Plugged } from './plugged.ts';

const SIZE = 16;
const RECEIVE = 0;
const TRANSMIT = 1;
const HEADER = 12;
const ROOM = 64;
const BUFFERS = 0x8000;
const MEMORY = 0x1_0000;
const MAC = [0x52, 0x54, 0, 1, 2, 3];

let folder: string;
let peer: number;
let news: number;
let plugged: Plugged;
let bench: Bench;
let memory: PlainMemory;
let queues: readonly [DriverQueue, DriverQueue];
let registers: VirtioRegisters;
const mailbox = new SharedArrayBuffer(MAILBOX_BYTES);

const at = (name: string): string => join(folder, name);

/** A device behind which is `netdev`, and a driver of it. */
function plug(netdev: string): void {
  plugged = new Plugged(virtioNet, MEMORY, { properties: { mac: '52:54:00:01:02:03' }, backend: netdev, news });
  ({ bench, memory, registers } = plugged);
  bringUp();
}

function bringUp(): void {
  bench.ready();
  queues = [new DriverQueue(memory, 0x1000, SIZE), new DriverQueue(memory, 0x2000, SIZE)];
  memory.bytes.fill(0, 0, BUFFERS);
  expect(bringUpByRegisters(registers, queues)).toBe(DRIVER_OK);
  bench.advance(0);
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-virtio-net-'));
  peer = bindDatagram(at('peer'), 0o600);
  news = epollCreate();
});
afterEach(() => {
  plugged.unplug();
  for (const fd of [peer, news]) close(fd);
  rmSync(folder, { recursive: true });
});

/** What the news thread does: the device is told if one of its sockets has news. */
function hear(): boolean {
  const heard = epollWait(news, 0).length > 0;
  if (heard) bench.control.tellNews(mailbox);
  return heard;
}

const arrive = (...bytes: readonly number[]): unknown =>
  sendDatagram(peer, Uint8Array.from(bytes), unixAddress(at('own')));

/** Room for a frame, in buffer number n. */
function addRoom(n: number): void {
  queues[RECEIVE].add([{ at: BUFFERS + n * ROOM, length: ROOM, writable: true }]);
  notify(registers, RECEIVE);
}

const frameIn = (n: number): number[] => {
  const from = BUFFERS + n * ROOM + HEADER;
  return [...memory.bytes.subarray(from, from + 2)];
};

function send(n: number, ...bytes: readonly number[]): void {
  memory.bytes.set(bytes, BUFFERS + n * ROOM + HEADER);
  queues[TRANSMIT].add([{ at: BUFFERS + n * ROOM, length: HEADER + bytes.length }]);
  notify(registers, TRANSMIT);
}

/** The next frame at the other end of the wire. */
function sent(): number[] | undefined {
  const into = new Uint8Array(MAX_FRAME);
  const length = receiveDatagram(peer, into);
  return length === undefined ? undefined : [...into.subarray(0, length)];
}

const given = (queue: number): number => queues[queue as 0 | 1].takeUsed().length;

describe('virtio-net on the board, by datagrams', () => {
  beforeEach(() => plug(`dgram,id=n,local.path=${at('own')},remote.path=${at('peer')}`));

  it('shows its address, two queues, and the features of one inside a VMM', () => {
    expect(Array.from({ length: 6 }, (_, i) => registers.read(CONFIG_AT + i, 1))).toEqual(MAC);
    expect([bench.config(0, 4), registers.read(COMMON.nrQueues, 2)]).toEqual([0x1041_1af4, 2]);
    expect(offeredFeatures(registers)[0]).toBe(0x3001_0020);
  });

  it('gives its driver a frame when it has heard of it, and not before', () => {
    addRoom(0);
    bench.advance(0);
    arrive(1, 2);
    bench.advance(1e9);
    expect(given(RECEIVE)).toBe(0);
    expect(hear()).toBe(true);
    bench.advance(0);
    expect([given(RECEIVE), frameIn(0)]).toEqual([1, [1, 2]]);
  });

  it('leaves frames in the socket until there is room for them, and wants no time meanwhile', () => {
    arrive(1, 1);
    arrive(2, 2);
    hear();
    expect(bench.endpoint.run()).toBe(Number.POSITIVE_INFINITY);
    expect(hear()).toBe(false);
    addRoom(0);
    addRoom(1);
    bench.advance(0);
    expect([given(RECEIVE), frameIn(0), frameIn(1)]).toEqual([2, [1, 1], [2, 2]]);
  });

  it('has what came before its driver did', () => {
    bench.configWrite(AF_CTRL, 1, 1);
    bench.ready();
    arrive(1, 2);
    hear();
    bench.advance(0);
    queues = [new DriverQueue(memory, 0x1000, SIZE), new DriverQueue(memory, 0x2000, SIZE)];
    memory.bytes.fill(0, 0, BUFFERS);
    queues[RECEIVE].add([{ at: BUFFERS, length: ROOM, writable: true }]);
    bringUpByRegisters(registers, queues);
    bench.advance(0);
    expect([given(RECEIVE), frameIn(0)]).toEqual([1, [1, 2]]);
  });

  it('sends frames in order', () => {
    send(0, 1);
    send(1, 2, 3);
    bench.advance(0);
    expect([sent(), sent(), given(TRANSMIT)]).toEqual([[1], [2, 3], 2]);
  });

  it('keeps frames for which the peer has no room, tries again after 1 ms, and loses none', () => {
    const before = [];
    while (sendDatagram(plugged.fds[0]!, Uint8Array.of(0), unixAddress(at('peer'))) === 'sent') before.push(0);
    send(0, 1);
    send(1, 2);
    expect(bench.endpoint.run()).toBe(bench.nowNs + 1e6);
    for (const _ of before) sent();
    bench.advance(1e6);
    expect([sent(), sent(), given(TRANSMIT)]).toEqual([[1], [2], 2]);
    expect(bench.endpoint.run()).toBe(Number.POSITIVE_INFINITY);
  });

  it('drops what it sends while nobody is there, and goes on', () => {
    rmSync(at('peer'));
    send(0, 1);
    bench.advance(0);
    expect([given(TRANSMIT), sent()]).toEqual([1, undefined]);
    close(peer);
    peer = bindDatagram(at('peer'), 0o600);
    send(1, 2);
    bench.advance(0);
    expect(sent()).toEqual([2]);
  });

  it('waits while bus mastering is off, and then goes on', () => {
    addRoom(0);
    bench.advance(0);
    bench.setCommand(2);
    arrive(1, 2);
    hear();
    send(1, 7);
    bench.memory.log.length = 0;
    expect(bench.endpoint.run()).toBe(Number.POSITIVE_INFINITY);
    expect([bench.memory.log, registers.read(COMMON.status, 1)]).toEqual([[], DRIVER_OK]);
    bench.setCommand(6);
    bench.advance(0);
    expect([frameIn(0), sent()]).toEqual([[1, 2], [7]]);
  });

  it('asks for a reset when a buffer is not in memory; what comes later waits for that', () => {
    queues[RECEIVE].add([{ at: MEMORY, length: ROOM, writable: true }]);
    notify(registers, RECEIVE);
    arrive(1, 1);
    arrive(2, 2);
    hear();
    bench.advance(0);
    expect(registers.read(COMMON.status, 1)).toBe(DRIVER_OK | NEEDS_RESET);
    bringUp();
    addRoom(0);
    bench.advance(0);
    expect(frameIn(0)).toEqual([2, 2]);
  });

  it('gives each frame once, over function-level resets between frames', () => {
    const seen: number[] = [];
    for (let i = 0; i < 4; i++) {
      arrive(i, i);
      hear();
      addRoom(i);
      bench.advance(0);
      seen.push(frameIn(i)[0]!);
      bench.configWrite(AF_CTRL, 1, 1);
      bringUp();
    }
    expect(seen).toEqual([0, 1, 2, 3]);
  });
});

describe('virtio-net on the board, by a stream', () => {
  const frame = (...bytes: readonly number[]): Uint8Array => Uint8Array.of(0, 0, 0, bytes.length, ...bytes);
  let client: number;
  beforeEach(() => {
    plug(`stream,id=n,addr.path=${at('own')},server=on`);
    client = connectUnixNow(at('own'));
    hear();
    bench.advance(0);
  });
  afterEach(() => close(client));

  it('carries frames both ways', () => {
    addRoom(0);
    sendAll(client, frame(1, 2));
    expect(hear()).toBe(true);
    send(1, 3, 4);
    bench.advance(0);
    const got = new Uint8Array(10);
    expect([frameIn(0), receiveNow(client, got), got.slice(0, 6)]).toEqual([[1, 2], 6, frame(3, 4)]);
  });

  it('waits for the rest of a frame, and stays connected over a function-level reset', () => {
    addRoom(0);
    sendAll(client, frame(1, 2).subarray(0, 5));
    hear();
    bench.advance(0);
    expect(given(RECEIVE)).toBe(0);
    bench.configWrite(AF_CTRL, 1, 1);
    bringUp();
    addRoom(0);
    sendAll(client, Uint8Array.of(2));
    hear();
    bench.advance(0);
    expect([given(RECEIVE), frameIn(0)]).toEqual([1, [1, 2]]);
  });
});

describe('the wire of virtio-net', () => {
  const values = parseProperties('virtio-net', virtioNet.properties, {});
  beforeEach(() => plug(`dgram,id=n,local.path=${at('own')},remote.path=${at('peer')}`));

  it('is refused in one line where somebody listens', () => {
    const netdev = `dgram,id=n,local.path=${at('own')},remote.path=x`;
    expect(() => virtioNet.open!(values, netdev)).toThrow(/^-netdev: .*own: somebody is listening there already$/);
  });
});
