/** virtio-console as a function of the board, with a socket behind it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { device as virtioConsole } from '../../../devices/virtio-console/device.ts';
import { epollCreate, epollWait } from '../../../platform/libc/epoll.ts';
import { close, setNonBlocking } from '../../../platform/libc/fd.ts';
import { acceptNow, connectUnixNow, receiveNow, sendAll } from '../../../platform/libc/unix-socket.ts';
import { MAILBOX_BYTES } from '../../../platform/mailbox.ts';
import { listenUnix } from '../../../platform/unix-listener.ts';
import type { Bench } from '../bench.ts';
import { DriverQueue, type PlainMemory } from './driver.ts';
import { AF_CTRL, bringUpByRegisters, notify, type VirtioRegisters } from './pci-driver.ts';
import { Plugged } from './plugged.ts';

const RECEIVE = 0;
const TRANSMIT = 1;
const BUFFERS = 0x8000;
const ROOM = 32;

let folder: string;
let news: number;
let plugged: Plugged;
let bench: Bench;
let memory: PlainMemory;
let queues: readonly [DriverQueue, DriverQueue];
let registers: VirtioRegisters;
let clients: number[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-virtio-console-'));
  news = epollCreate();
  clients = [];
  plug(`socket,id=c,path=${join(folder, 'line')},server=on,wait=off`);
});

/** A device behind which is `chardev`, and a driver of it. */
function plug(chardev: string): void {
  plugged = new Plugged(virtioConsole, 0x1_0000, { backend: chardev, news });
  ({ bench, memory, registers } = plugged);
  bringUp();
}

afterEach(() => {
  plugged.unplug();
  for (const fd of [news, ...clients]) close(fd);
  rmSync(folder, { recursive: true });
});

function bringUp(): void {
  bench.ready();
  queues = [new DriverQueue(memory, 0x1000, 16), new DriverQueue(memory, 0x2000, 16)];
  memory.bytes.fill(0);
  bringUpByRegisters(registers, queues);
  for (let n = 0; n < 4; n++) queues[RECEIVE].add([{ at: BUFFERS + n * ROOM, length: ROOM, writable: true }]);
  notify(registers, RECEIVE);
  bench.advance(0);
}

function hear(): void {
  if (epollWait(news, 0).length > 0) bench.control.tellNews(new SharedArrayBuffer(MAILBOX_BYTES));
  bench.advance(0);
}

function connect(): number {
  const client = connectUnixNow(join(folder, 'line'));
  clients.push(client);
  return client;
}

function hangUp(client: number): void {
  clients = clients.filter((fd) => fd !== client);
  close(client);
}

/** What the driver has got since it last looked; buffers come back in order. */
const typed = (): string =>
  queues[RECEIVE]
    .takeUsed()
    .map(({ head, written }) => Buffer.from(memory.bytes.subarray(BUFFERS + head * ROOM).subarray(0, written)))
    .join('');

function say(text: string): void {
  memory.bytes.set(Buffer.from(text), 0x4000);
  queues[TRANSMIT].add([{ at: 0x4000, length: text.length }]);
  notify(registers, TRANSMIT);
  bench.advance(0);
}

function heard(client: number): string {
  const into = new Uint8Array(100);
  const count = receiveNow(client, into);
  return typeof count === 'number' ? Buffer.from(into.subarray(0, count)).toString() : count;
}

/** What a server at `path`, which comes and goes, hears of what the driver says. */
async function heardByServer(path: string, text: string): Promise<string> {
  const listener = listenUnix(path);
  setNonBlocking(listener);
  const connection = await vi.waitFor(() => {
    bench.advance(1e6);
    const fd = acceptNow(listener);
    if (fd === undefined) throw new Error('the device does not connect');
    return fd;
  });
  say(text);
  const got = heard(connection);
  for (const fd of [connection, listener]) close(fd);
  rmSync(path);
  hear();
  return got;
}

describe('virtio-console on the board', () => {
  it('carries bytes both ways', () => {
    const client = connect();
    sendAll(client, Buffer.from('question'));
    hear();
    expect(typed()).toBe('question');
    say('answer');
    expect(heard(client)).toBe('answer');
  });

  it('loses what its driver says while nobody is connected, and goes on', () => {
    say('nobody hears this');
    const client = connect();
    hear();
    say('this');
    expect(heard(client)).toBe('this');
  });

  it('turns to the client that waits when one has hung up, without further news', () => {
    const [first, second] = [connect(), connect()];
    hear();
    sendAll(second, Buffer.from('second'));
    hangUp(first);
    hear();
    expect(typed()).toBe('second');
  });

  it('keeps its client over a function-level reset, and lets it go at power-off', () => {
    const client = connect();
    hear();
    bench.configWrite(AF_CTRL, 1, 1);
    sendAll(client, Buffer.from('before the driver'));
    hear();
    bringUp();
    expect(typed()).toBe('before the driver');
    bench.endpoint.end();
    expect(heard(client)).toBe('closed');
  });

  it('connects to a server when that is there, and to the next one when it has gone', async () => {
    plugged.unplug();
    const path = join(folder, 'server');
    plug(`socket,id=c,path=${path},reconnect-ms=1`);
    expect([await heardByServer(path, 'first'), await heardByServer(path, 'second')]).toEqual(['first', 'second']);
  });
});
