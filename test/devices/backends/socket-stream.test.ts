import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SocketStream } from '../../../devices/backends/socket-stream.ts';
import { epollCreate, epollWait } from '../../../platform/libc/epoll.ts';
import { close, setNonBlocking } from '../../../platform/libc/fd.ts';
import { connectUnixNow, receiveNow, sendAll, sendNow } from '../../../platform/libc/unix-socket.ts';
import { wholeOf } from '../../../platform/shared.ts';
import { listenUnix } from '../../../platform/unix-listener.ts';
import { CONSOLE_INPUT_BYTES, ConsoleInput } from '../../../vmm/machine/shared/console-input.ts';
import { CONSOLE_OUTPUT_BYTES, ConsoleOutput } from '../../../vmm/machine/shared/console-output.ts';
import { SerialLine, toStream } from '../../../vmm/machine/shared/serial-line.ts';

let folder: string;
let path: string;
let listener: number;
let news: number;
let stream: SocketStream;
const clients: number[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-stream-'));
  path = join(folder, 'line');
  listener = listenUnix(path);
  setNonBlocking(listener);
  news = epollCreate();
  stream = new SocketStream({ fd: listener, path, reconnectMs: 0 }, news);
});
afterEach(() => {
  const { connection } = stream.save();
  for (const fd of [listener, news, ...clients.splice(0), ...(connection === null ? [] : [connection])]) close(fd);
  rmSync(folder, { recursive: true });
});

function connect(): number {
  const fd = connectUnixNow(path);
  clients.push(fd);
  return fd;
}

function hangUp(client: number): void {
  clients.splice(clients.indexOf(client), 1);
  close(client);
}

function read(from: SocketStream): string {
  const into = new Uint8Array(100);
  return Buffer.from(into.subarray(0, from.read(into))).toString();
}

/** All that the client can have now. */
function heard(client: number): number {
  const into = new Uint8Array(1 << 16);
  let sum = 0;
  for (let count = receiveNow(client, into); typeof count === 'number' && count > 0; ) {
    sum += count;
    count = receiveNow(client, into);
  }
  return sum;
}

describe('a stream to whoever connects to a socket', () => {
  it('carries bytes both ways, and tells the epoll instance of news', () => {
    expect(epollWait(news, 0)).toEqual([]);
    const client = connect();
    expect(epollWait(news, 0)).toEqual([listener]);
    stream.update();
    epollWait(news, 0);
    sendAll(client, Buffer.from('hello'));
    expect(epollWait(news, 0)).toEqual([stream.save().connection]);
    expect([read(stream), read(stream)]).toEqual(['hello', '']);
    expect(stream.write(Buffer.from('yes'))).toBe(true);
    expect(heard(client)).toBe(3);
  });

  it('loses what is written while nobody is connected, and reads nothing', () => {
    expect([stream.write(Buffer.from('x')), read(stream)]).toEqual([true, '']);
    const client = connect();
    stream.update();
    expect(heard(client)).toBe(0);
  });

  it('has no room while its client reads nothing, and loses nothing of what it took, also after a save', () => {
    const client = connect();
    stream.update();
    const piece = new Uint8Array(10_000);
    let taken = 0;
    while (stream.write(piece)) taken += piece.length;
    expect(stream.send(piece)).toBe(0);
    const next = new SocketStream({ fd: listener, path, reconnectMs: 0 }, news);
    next.restore(stream.save());
    let got = 0;
    for (let more = heard(client); more > 0; more = heard(client)) {
      got += more;
      next.update();
    }
    expect([got, next.write(piece)]).toEqual([taken, true]);
  });

  it('goes on with the next client when one has hung up', () => {
    const [first, second] = [connect(), connect()];
    stream.update();
    sendAll(second, Buffer.from('second'));
    expect(read(stream)).toBe('');
    hangUp(first);
    expect([read(stream), stream.dueMs()]).toEqual(['', 0]); // the second one may have no news to tell
    stream.update();
    expect([read(stream), stream.dueMs()]).toEqual(['second', undefined]);
    hangUp(second);
    stream.write(Buffer.from('x'));
    expect(stream.save()).toEqual({ connection: null, unsent: new Uint8Array() });
  });
});

describe('bytes that are wanted as a whole', () => {
  it('stay there until all have come, and come though the client has ended since', () => {
    const client = connect();
    stream.update();
    sendAll(client, Buffer.from('abc'));
    expect([stream.peek(new Uint8Array(4)), stream.save().connection]).toEqual([0, expect.any(Number)]);
    sendAll(client, Buffer.from('d'));
    hangUp(client);
    expect([stream.peek(new Uint8Array(4)), read(stream)]).toEqual([4, 'abcd']);
  });

  it('end the connection of a client that has ended in the midst of them, so that the next one has its turn', () => {
    const [first, second] = [connect(), connect()];
    stream.update();
    sendAll(first, Buffer.from('abc'));
    hangUp(first);
    expect([stream.peek(new Uint8Array(4)), stream.save().connection]).toEqual([0, null]);
    stream.update();
    sendAll(second, Buffer.from('next'));
    expect(stream.peek(new Uint8Array(4))).toBe(4);
  });
});

describe("the UART's line to a socket", () => {
  it('takes as much input as there is room for, and then wants another look', () => {
    const input = new ConsoleInput(wholeOf(new SharedArrayBuffer(CONSOLE_INPUT_BYTES)));
    const line = new SerialLine(stream, input);
    const client = connect();
    stream.update();
    sendAll(client, new Uint8Array(input.room).fill(7));
    sendAll(client, Buffer.from('end'));
    line.update();
    expect([input.room, line.dueMs()]).toEqual([0, undefined]);
    line.update();
    while (input.ready()) input.take();
    input.release();
    expect(line.dueMs()).toBe(0);
    line.update();
    expect([input.waiting, line.dueMs()]).toEqual([3, undefined]);
  });

  it('keeps output while the socket is full', () => {
    const output = new ConsoleOutput(wholeOf(new SharedArrayBuffer(CONSOLE_OUTPUT_BYTES)), toStream(stream));
    const client = connect();
    stream.update();
    const { connection } = stream.save();
    while (sendNow(connection!, new Uint8Array(4096)) !== 0);
    output.put(0x0a);
    expect(output.pending).toBe(true);
    heard(client);
    output.flush();
    expect([output.pending, heard(client)]).toEqual([false, 1]);
  });
});

describe('a stream to a server', () => {
  const client = (reconnectMs: number): SocketStream => new SocketStream({ fd: null, path, reconnectMs }, news);

  /** Our end is a client of the stream of the fixture, which serves. */
  function talk(end: SocketStream): string {
    end.update();
    stream.update();
    end.write(Buffer.from('hi'));
    return read(stream);
  }
  const drop = (end: SocketStream): void => end.hangUp();

  it('connects, and carries bytes', () => {
    const end = client(0);
    expect([end.dueMs(), talk(end), end.dueMs()]).toEqual([0, 'hi', undefined]);
    drop(end);
  });

  it('tries once without reconnect, and again when it is due with it', () => {
    rmSync(path);
    const [once, again] = [client(0), client(1_000_000)];
    for (const end of [once, again]) end.update();
    expect(once.dueMs()).toBeUndefined();
    expect(again.dueMs()).toBeGreaterThan(500_000);
  });

  it('is connected again in time when the server has ended', async () => {
    const end = client(1);
    talk(end);
    stream.hangUp();
    read(end);
    expect(end.save().connection).toBeNull();
    await expect.poll(() => talk(end)).toBe('hi');
    drop(end);
  });

  it('keeps its connection in the next image', () => {
    const before = client(0);
    talk(before);
    const end = client(0);
    end.restore(before.save());
    end.write(Buffer.from('again'));
    expect(read(stream)).toBe('again');
    drop(end);
  });
});
