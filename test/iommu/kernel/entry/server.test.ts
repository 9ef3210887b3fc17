import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { MAX_TRANSFER, type Reply } from '../../../../iommu/abi/wire.ts';
import { type Caller, type FileOperations, releaseGoesOn } from '../../../../iommu/kernel/core/open-file.ts';
import type { UserArg } from '../../../../iommu/kernel/core/user-arg.ts';
import { FileTable } from '../../../../iommu/kernel/entry/file-table.ts';
import { Server } from '../../../../iommu/kernel/entry/server.ts';
import { einval, enoent } from '../../../../platform/errno.ts';
import { encodeFrame } from '../../../../platform/frames.ts';
import { eventfd, eventfdRead, eventfdSignal } from '../../../../platform/libc/eventfd.ts';
import { close, dup } from '../../../../platform/libc/fd.ts';
import { Connection, name, TestClient } from '../test-client.ts';

const ECHO = 1;
const SLEEP = 2;
const BUG = 3;
const INSTALL = 4;
const EVENTFD = 5;
const OTHER_FILE = 6;
const SLOW = 8;
/** What its struct's first byte says; for another number, nothing. */
const BY_FIRST_BYTE = 7;

/** A file whose ioctls do what a test needs; remembers what became of it. */
class TestFile implements FileOperations {
  readonly name = '/dev/test';
  released = 0;
  killed = 0;
  wake = (): void => undefined;
  sleeping = 0;
  slow = 0;
  installed: TestFile | undefined;
  /** What a release leaves to do. */
  rest: Promise<void> | undefined;

  ioctl(nr: number, arg: UserArg, caller: Caller): number | Promise<number> {
    switch (nr) {
      case ECHO:
        arg.copyOut(0, new Uint8Array(arg.copyIn(4).buffer).reverse());
        return Number((arg.value ?? 0n) & 0xffn);
      case SLEEP:
        return this.#sleep(caller);
      case BUG:
        throw new TypeError('a bug on purpose');
      case INSTALL:
        this.installed = new TestFile();
        caller.install(this.installed);
        return 0;
      case EVENTFD: {
        const fd = caller.eventfd(Number(BigInt.asIntN(64, arg.value ?? -1n)));
        eventfdSignal(fd);
        close(fd);
        return 0;
      }
      case BY_FIRST_BYTE: {
        const nr = arg.copyIn(4).getUint8(0);
        return nr > SLOW ? 0 : this.ioctl(nr, arg, caller);
      }
      case SLOW: {
        this.slow++;
        const end = performance.now() + 1;
        while (performance.now() < end);
        return 0;
      }
      case OTHER_FILE:
        return caller.file(Number(BigInt.asIntN(64, arg.value ?? -1n))) ? 1 : 0;
    }
    throw einval('unknown');
  }

  #sleep({ task }: Caller): Promise<number> {
    this.sleeping++;
    return new Promise((resolve) => {
      this.wake = () => resolve(42);
      task.killed.addEventListener('abort', () => {
        this.killed++;
        resolve(-14);
      });
    });
  }

  release(): void {
    this.released++;
    if (this.rest) releaseGoesOn(this.rest);
  }
}

let folder: string;
let socketPath: string;
let files: FileTable;
let server: Server;
let opened: TestFile[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'server-'));
  socketPath = join(folder, 'host');
  files = new FileTable();
  opened = [];
  const openPath = (path: string): TestFile => {
    if (path !== '/dev/test') throw enoent(path);
    const file = new TestFile();
    opened.push(file);
    return file;
  };
  server = new Server({ memlock: 'as-process', socketPath, files, openPath });
  await server.listen();
});

afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

const file = (): TestFile => opened.at(-1)!;

async function openTest(): Promise<{ client: TestClient; fd: number }> {
  const client = await TestClient.connect(socketPath);
  return { client, fd: await client.open('/dev/test') };
}

describe('the socket', () => {
  it('is there with mode 0600 when listen() resolves, and gone after close()', async () => {
    expect(statSync(socketPath).mode & 0o777).toBe(0o600);

    await server.close();

    expect(existsSync(socketPath)).toBe(false);
    await server.listen();
  });

  it('does not replace a socket that somebody listens on', async () => {
    const second = new Server({
      memlock: 'as-process',
      socketPath,
      files: new FileTable(),
      openPath: () => new TestFile(),
    });

    await expect(second.listen()).rejects.toMatchObject({ code: 'EADDRINUSE' });

    expect(name(await (await TestClient.connect(socketPath)).open('/dev/none'))).toBe('-ENOENT');
  });

  it('disconnects everybody and releases every file when it closes', async () => {
    const { client } = await openTest();

    await server.close();

    await client.channel.closed;
    expect(file().released).toBe(1);
    await server.listen();
  });

  /** Closes the server while the release of `released` goes on; what ended, in order. */
  async function ends(released: TestFile): Promise<string[]> {
    const events: string[] = [];
    let finish = (): void => {};
    released.rest = new Promise((resolve) => {
      finish = resolve;
    });
    const closed = server.close().then(() => events.push('closed'));
    await vi.waitUntil(() => released.released === 1);
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
    events.push('released');
    finish();
    await closed;
    await server.listen();
    return events;
  }

  it('is closed only when the releases that take longer are over', async () => {
    await openTest();
    expect(await ends(file())).toEqual(['released', 'closed']);
  });

  it('is closed only when the calls under way are over, and the releases that their ends begin', async () => {
    const { client, fd } = await openTest();
    const call = client.ioctl(fd, SLEEP, 0).catch(() => {}); // it gets no answer
    await vi.waitUntil(() => file().sleeping === 1);
    expect(await ends(file())).toEqual(['released', 'closed']);
    await call;
  });

  it('is closed only when a file is released that its client has not taken', async () => {
    const { client, fd } = await openTest();
    await client.request({ op: 'ioctl', fd, nr: INSTALL, arg: 0 });
    expect(await ends(file().installed!)).toEqual(['released', 'closed']);
  });
});

describe('a system call', () => {
  it('gives back the return value and the bytes that were written', async () => {
    const { client, fd } = await openTest();
    const arg = new Uint8Array([1, 2, 3, 4, 0xee]);

    expect(await client.ioctl(fd, ECHO, arg)).toBe(0);

    expect(arg).toEqual(new Uint8Array([4, 3, 2, 1, 0xee]));
  });

  it.each([
    ['an errno of the file', 'unknown ioctl', 99, '-EINVAL'],
    ['EFAULT', 'a struct that is cut short', ECHO, '-EFAULT'],
  ])('answers %s to %s', async (_, __, nr, expected) => {
    const { client, fd } = await openTest();

    expect(name(await client.ioctl(fd, nr, new Uint8Array(3)))).toBe(expected);
  });

  it('is EBADF on a fd that is not open, EINVAL on one that is no file of the host', async () => {
    const { client } = await openTest();
    const other = eventfd();

    expect([await client.ioctl(9999, ECHO, 0), await client.ioctl(-1, ECHO, 0)].map(name)).toEqual([
      '-EBADF',
      '-EBADF',
    ]);
    expect(name(await client.ioctl(other, ECHO, 0))).toBe('-EINVAL');
    close(other);
  });

  it('is EINVAL where the file cannot be read or written, and at a negative offset', async () => {
    const { client, fd } = await openTest();

    expect(name((await client.pread(fd, 0, 4)) as number)).toBe('-EINVAL');
    expect(name(await client.pwrite(fd, 0, new Uint8Array(1)))).toBe('-EINVAL');
    expect(name((await client.pread(fd, -1n, 4)) as number)).toBe('-EINVAL');
  });

  it('that hits a bug of the host is EIO, told once, and harms nobody', async () => {
    const { client, fd } = await openTest();
    const log = vi.spyOn(process.stderr, 'write').mockReturnValue(true);

    const answers = [await client.ioctl(fd, BUG, 0), await client.ioctl(fd, BUG, 0)];
    const told = log.mock.calls.filter(([text]) => String(text).includes('a bug on purpose')).length;
    log.mockRestore();

    expect(answers.map(name)).toEqual(['-EIO', '-EIO']);
    expect(told).toBe(1);
    expect(await client.ioctl(fd, ECHO, new Uint8Array(4))).toBe(0);
  });

  it('reaches the caller’s eventfds: EBADF for none, EINVAL for another kind of fd', async () => {
    const { client, fd } = await openTest();
    const event = eventfd(0, 0o4000);

    expect(await client.ioctl(fd, EVENTFD, event)).toBe(0);

    expect(eventfdRead(event)).toBe(1);
    expect([await client.ioctl(fd, EVENTFD, 9999), await client.ioctl(fd, EVENTFD, fd)].map(name)).toEqual([
      '-EBADF',
      '-EINVAL',
    ]);
    close(event);
  });

  it('finds another open file of the caller by its fd', async () => {
    const { client, fd } = await openTest();
    const other = await client.open('/dev/test');

    expect(await client.ioctl(fd, OTHER_FILE, other)).toBe(1);
    expect(await client.ioctl(fd, OTHER_FILE, 0)).toBe(0);
    expect(name(await client.ioctl(fd, OTHER_FILE, 9999))).toBe('-EBADF');
  });
});

describe('an open file', () => {
  it('is released when close(2) has returned', async () => {
    const { client, fd } = await openTest();

    await client.close(fd);

    expect(file().released).toBe(1);
  });

  it('is released before the next call of anybody, even if the closer says nothing', async () => {
    const { client, fd } = await openTest();
    const other = await TestClient.connect(socketPath);

    await client.drop(fd);
    await other.request({ op: 'sync' });

    expect(file().released).toBe(1);
  });

  it('lives on in a dup until that is closed, too', async () => {
    const { client, fd } = await openTest();
    const copy = dup(fd);

    await client.close(fd);

    expect(file().released).toBe(0);
    expect(await client.ioctl(copy, ECHO, new Uint8Array(4))).toBe(0);
    close(copy);
    await client.request({ op: 'sync' });
    expect(file().released).toBe(1);
  });

  it('lives on in a child that has inherited it, until the child dies (CORE-13)', async () => {
    const { client, fd } = await openTest();
    const child = spawn('sleep', ['100'], { stdio: ['ignore', 'ignore', 'ignore', fd] });
    await once(child, 'spawn');

    await client.close(fd);
    expect(file().released).toBe(0);

    child.kill('SIGKILL');
    await once(child, 'exit');
    await client.request({ op: 'sync' });
    expect(file().released).toBe(1);
  });

  it('that a call returned is released if the caller does not take it', async () => {
    const { client, fd } = await openTest();

    const { token } = await client.request({ op: 'ioctl', fd, nr: INSTALL, arg: 0 });
    await client.request({ op: 'sync' });

    expect(file().installed?.released).toBe(1);
    expect(name(await client.open('anon:vfio-device', token))).toBe('-ENOENT');
  });

  it('that a call returned is released if the caller dies before it takes it', async () => {
    const { client, fd } = await openTest();
    await client.request({ op: 'ioctl', fd, nr: INSTALL, arg: 0 });
    const { installed } = file();

    await client.disconnect();
    const other = await TestClient.connect(socketPath);
    await other.request({ op: 'sync' });

    expect(installed?.released).toBe(1);
  });

  it('that a call returned is the caller’s by its token, once', async () => {
    const { client, fd } = await openTest();
    const { token } = await client.request({ op: 'ioctl', fd, nr: INSTALL, arg: 0 });

    const taken = await client.open('anon:vfio-device', token);

    expect(taken).toBeGreaterThan(0);
    expect(name(await client.open('anon:vfio-device', token))).toBe('-ENOENT');
    await client.close(taken);
    expect(file().installed?.released).toBe(1);
  });

  it('is known by its own fd only: a hello that names another open file is EEXIST', async () => {
    const { fd } = await openTest();
    const liar = await Connection.to(socketPath);

    expect(await liar.ask({ open: '/dev/test', fd })).toMatchObject({ ret: -17 });
    expect(await (await Connection.to(socketPath)).ask({ open: '/dev/test', fd: 9999 })).toMatchObject({ ret: -9 });
  });
});

describe('a call that sleeps', () => {
  it('holds up its own channel only', async () => {
    const { client, fd } = await openTest();
    const other = await TestClient.connect(socketPath);
    const sleeping = client.ioctl(fd, SLEEP, 0);
    await vi.waitUntil(() => file().sleeping === 1);

    expect(await other.ioctl(fd, ECHO, new Uint8Array(4))).toBe(0);

    file().wake();
    expect(await sleeping).toBe(42);
  });

  it('keeps its file open: a close(2) meanwhile takes effect when it is over (CORE-12)', async () => {
    const { client, fd } = await openTest();
    const other = await TestClient.connect(socketPath);
    const sleeping = client.ioctl(fd, SLEEP, 0);
    await vi.waitUntil(() => file().sleeping === 1);
    await client.drop(fd);
    await other.request({ op: 'sync' });
    expect(file().released).toBe(0);

    file().wake();

    expect(await sleeping).toBe(42);
    expect(file().released).toBe(1);
  });

  it('is killed by the death of its caller (VAD-13), and its file goes with it', async () => {
    const { client, fd } = await openTest();
    const watcher = await TestClient.connect(socketPath);
    const sleeping = client.ioctl(fd, SLEEP, 0).catch((error: Error) => error.message);
    await vi.waitUntil(() => file().sleeping === 1);

    await client.disconnect();

    expect(await sleeping).toBe('the host has hung up');
    await vi.waitUntil(() => file().killed === 1);
    await watcher.request({ op: 'sync' });
    await vi.waitUntil(() => file().released === 1);
  });
});

describe('a client that does not behave is disconnected, others are served', () => {
  let watcher: TestClient;
  let watched: number;
  beforeEach(async () => {
    ({ client: watcher, fd: watched } = await openTest());
  });
  afterEach(async () => {
    expect(await watcher.ioctl(watched, ECHO, new Uint8Array(4))).toBe(0);
  });

  const frame = (body: readonly number[]): Buffer => Buffer.from([body.length, 0, 0, 0, ...body]);

  it.each([
    ['bytes that are no msgpack', frame([0xc1])],
    ['a frame that is too long', Buffer.from([0xff, 0xff, 0xff, 0x7f])],
    ['a value that is no hello', frame([0x2a])],
    ['noise', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
  ])('for %s', async (_, bytes) => {
    const connection = await Connection.to(socketPath);

    connection.socket.write(bytes);

    await connection.closed;
  });

  it('for data on a file connection, which is closed thereby', async () => {
    const connection = await Connection.to(socketPath);
    await connection.ask({ open: '/dev/test', fd: connection.fd });

    expect(await connection.ask({ op: 'sync' })).toBe('hung up');

    expect(file().released).toBe(1);
  });

  it('for a request that does not wait for the last answer', async () => {
    const client = await TestClient.connect(socketPath);
    const sleeping = client.ioctl(watched, SLEEP, 0).catch(() => 'hung up');
    await vi.waitUntil(() => opened[0]!.sleeping === 1);

    expect(await client.channel.ask({ op: 'sync' })).toBe('hung up');
    expect(await sleeping).toBe('hung up');
  });

  it('for a malformed request', async () => {
    const client = await TestClient.connect(socketPath);

    expect(await client.channel.ask({ op: 'reboot' })).toBe('hung up');
  });

  it('for a thread it does not have', async () => {
    const connection = await Connection.to(socketPath);

    expect(await connection.ask({ task: 1 })).toMatchObject({ ret: -3, pid: process.pid });
    await connection.closed;
  });

  it('for a request longer than any there is', async () => {
    const { client, fd } = await openTest();
    const tooLong = { op: 'pwrite', fd, offset: 0, data: new Uint8Array(2 * MAX_TRANSFER) };

    expect(await client.channel.ask(tooLong)).toBe('hung up');
  });

  it('for two requests at once, though the first would be answered at once', async () => {
    const client = await TestClient.connect(socketPath);
    const sync = Buffer.from(encodeFrame({ op: 'sync' }));

    client.channel.socket.write(Buffer.concat([sync, sync]));

    await client.channel.closed;
  });

  it('for a request and the beginning of the next', async () => {
    const client = await TestClient.connect(socketPath);
    const sync = Buffer.from(encodeFrame({ op: 'sync' }));

    client.channel.socket.write(Buffer.concat([sync, sync.subarray(0, 5)]));

    await client.channel.closed;
  });

  it('for a request of a million values, which is not even decoded', async () => {
    const { client, fd } = await openTest();
    const many = { op: 'ioctl', fd, nr: ECHO, arg: new Array(200_000).fill(1) };

    expect(await client.channel.ask(many)).toBe('hung up');
  });

  it('for half a frame and then death', async () => {
    const connection = await Connection.to(socketPath);
    connection.socket.write(Buffer.from([100, 0, 0, 0, 0x81]));

    connection.socket.destroy();

    await connection.closed;
  });
});

describe('calls on many channels of one process', () => {
  it('are one turn per round of the event loop together, and none is lost', async () => {
    const { fd } = await openTest();
    const clients = await Promise.all(Array.from({ length: 20 }, () => TestClient.connect(socketPath)));
    const target = file();
    const perRound: number[] = [];
    let before = 0;
    const count = (): void => {
      perRound.push(target.slow - before);
      before = target.slow;
      next = setImmediate(count);
    };
    let next = setImmediate(count);

    await Promise.all(clients.map((client) => client.ioctl(fd, SLOW, 0)));

    clearImmediate(next);
    expect(target.slow).toBe(20);
    expect(Math.max(...perRound)).toBeLessThanOrEqual(2); // one on either side of our look
  });
});

describe('what the host holds for one process', () => {
  const beginning = encodeFrame({ op: 'pwrite', fd: 0, offset: 0, data: new Uint8Array(MAX_TRANSFER) }).slice(0, -1);

  it('is limited: of the connections with unfinished requests those beyond it are closed', async () => {
    const { client, fd } = await openTest();
    const connections = await Promise.all(Array.from({ length: 200 }, () => Connection.to(socketPath)));
    let closed = 0;
    for (const { socket } of connections) {
      socket.on('close', () => closed++);
      socket.write(beginning);
    }

    await vi.waitUntil(() => closed > 0, { timeout: 20_000 });

    // the same process
    expect(name(await client.ioctl(fd, ECHO, new Uint8Array(4)))).toBe('-ENOMEM');
    expect(connections.length - closed).toBeGreaterThan(64);
    for (const { socket } of connections) socket.destroy();
    await vi.waitUntil(() => closed === connections.length);
    // it is counted no more, once the host has seen them close
    for (const length of [4, MAX_TRANSFER]) {
      await vi.waitFor(async () => expect(await client.ioctl(fd, ECHO, new Uint8Array(length))).toBe(0));
    }
  });

  it('is ENOMEM for a call that would go beyond it, and the connection stays', async () => {
    const { fd } = await openTest();
    const clients = await Promise.all(Array.from({ length: 64 }, () => TestClient.connect(socketPath)));
    const large = { op: 'ioctl', fd, nr: SLEEP, arg: new Uint8Array(MAX_TRANSFER) };

    for (const [i, client] of clients.slice(0, -1).entries()) {
      void client.channel.ask(large);
      await vi.waitUntil(() => file().sleeping === i + 1, { interval: 1 });
    }

    expect(await clients.at(-1)!.channel.ask(large)).toMatchObject({ ret: -12 });

    expect(await clients.at(-1)!.ioctl(fd, ECHO, new Uint8Array(4))).toBe(0);
  });

  it('is copied once, also from 64 connections that dribble', async () => {
    const { set } = Uint8Array.prototype;
    const connections = await Promise.all(Array.from({ length: 64 }, () => Connection.to(socketPath)));
    let copied = 0;
    const spy = vi.spyOn(Uint8Array.prototype, 'set').mockImplementation(function (this: Uint8Array, source, offset) {
      copied += source.length;
      set.call(this, source, offset);
    });

    const PIECE = 1000;
    for (let at = 0; at < 200 * PIECE; at += PIECE) {
      await Promise.all(connections.map(({ socket }) => written(socket, beginning.subarray(at, at + PIECE))));
    }

    spy.mockRestore();
    expect(copied).toBeLessThan(4 * 64 * 200 * PIECE);
    for (const { socket } of connections) socket.destroy();
  });

  const written = (socket: Connection['socket'], bytes: Uint8Array): Promise<void> =>
    new Promise((resolve) => socket.write(bytes, () => resolve()));
});

describe('one ioctl over an array of structs', () => {
  const NOTHING = 50;
  const UNKNOWN = 0;
  /** Structs of four bytes; the first byte says what to do. */
  const loop = (fd: number, ...what: readonly number[]) => ({
    op: 'ioctls' as const,
    fd,
    nr: BY_FIRST_BYTE,
    size: 4,
    args: Uint8Array.from(what.flatMap((first, i) => [first, 0, 0, i])),
  });
  const written = ({ out }: Reply) => out && [...out];

  it('is carried out in order; each struct has its bytes back', async () => {
    const { client, fd } = await openTest();

    const reply = await client.request(loop(fd, ECHO, NOTHING, ECHO));

    expect(reply).toMatchObject({ ret: 0, done: 3 });
    expect(written(reply)).toEqual([0, 0, 0, ECHO, NOTHING, 0, 0, 1, 2, 0, 0, ECHO]);
  });

  it('brings nothing back where nothing was written', async () => {
    const { client, fd } = await openTest();
    expect(await client.request(loop(fd, NOTHING, NOTHING))).toEqual({ ret: 0, done: 2 });
  });

  it('stops at the first that fails: its errno, how many came before it, nothing of those behind it', async () => {
    const { client, fd } = await openTest();

    const reply = await client.request(loop(fd, ECHO, UNKNOWN, ECHO));

    expect(reply).toMatchObject({ ret: -22, done: 1, message: 'unknown' });
    expect(written(reply)).toEqual([0, 0, 0, ECHO, UNKNOWN, 0, 0, 1, ECHO, 0, 0, 2]);
  });

  it('may be over none', async () => {
    const { client, fd } = await openTest();
    expect(await client.request(loop(fd))).toEqual({ ret: 0, done: 0 });
  });

  it('sleeps where one of them sleeps, and ends with the death of the caller', async () => {
    const { client, fd } = await openTest();
    const sleeping = client.request(loop(fd, SLEEP, ECHO));
    await vi.waitUntil(() => file().sleeping === 1);

    file().wake();

    expect(await sleeping).toMatchObject({ ret: 0, done: 2 });
    void client.channel.ask(loop(fd, SLEEP, SLEEP));
    await vi.waitUntil(() => file().sleeping === 2);
    await client.disconnect();
    await vi.waitUntil(() => file().released === 1);
  });

  it('ends with its caller between two slices', async () => {
    const { client, fd } = await openTest();
    const { client: watcher, fd: watched } = await openTest();
    const target = opened[0]!;
    void client.channel.ask(loop(fd, ...Array.from({ length: 1000 }, () => SLOW)));
    await vi.waitUntil(() => target.slow > 0, { interval: 1 });

    await client.disconnect();
    await vi.waitUntil(() => target.released === 1);

    expect(target.slow).toBeLessThan(1000);
    expect(await watcher.ioctl(watched, ECHO, new Uint8Array(4))).toBe(0);
  });

  it('gives nobody a fd: EINVAL, and it is released', async () => {
    const { client, fd } = await openTest();

    const reply = await client.request(loop(fd, INSTALL, ECHO));

    expect([reply.ret, reply.done, reply.token, file().installed?.released]).toEqual([-22, 0, undefined, 1]);
  });

  it('that hits a bug of the host is EIO', async () => {
    const log = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    const { client, fd } = await openTest();

    const reply = await client.request(loop(fd, ECHO, BUG));
    log.mockRestore();

    expect(name(reply.ret)).toBe('-EIO');
  });
});
