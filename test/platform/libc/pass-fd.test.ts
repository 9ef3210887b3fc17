import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { handleFd } from '../../../platform/handle-fd.ts';
import { close, getCloexec } from '../../../platform/libc/fd.ts';
import { pread, pwrite } from '../../../platform/libc/file-bytes.ts';
import { recvWithFd, sendWithFd } from '../../../platform/libc/pass-fd.ts';
import { connectUnix, sendAll } from '../../../platform/libc/unix-socket.ts';
import { createMemory, objectId } from '../../../platform/memory.ts';

describe('a fd that travels with data (SCM_RIGHTS)', () => {
  let dir: string;
  let server: Server;
  let client: number;
  let peer: number;

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'livevmm-fd-'));
    server = createServer();
    await new Promise<void>((resolve) => server.listen(join(dir, 'socket'), resolve));
    const connected = new Promise<Socket>((resolve) => server.once('connection', resolve));
    client = connectUnix(join(dir, 'socket'));
    const socket = await connected;
    peer = handleFd(socket)!;
    server.once('close', () => socket.destroy());
  });
  afterEach(() => {
    close(client);
    server.close();
    rmSync(dir, { recursive: true });
  });

  it('is another fd of the same object, close-on-exec', () => {
    const fd = createMemory('passed', 4096);
    pwrite(fd, Uint8Array.of(7), 0);
    const into = new Uint8Array(16);

    sendWithFd(peer, Uint8Array.of(1, 2, 3), fd);
    const { count, passed } = recvWithFd(client, into);

    const byte = new Uint8Array(1);
    pread(passed!, byte, 0);
    expect([...into.subarray(0, count)]).toEqual([1, 2, 3]);
    expect(passed).not.toBe(fd);
    expect(objectId(passed!)).toEqual(objectId(fd));
    expect(getCloexec(passed!)).toBe(true);
    expect(byte[0]).toBe(7);
    close(passed!);
    close(fd);
  });

  it('is absent where data comes alone', () => {
    sendAll(peer, Uint8Array.of(1));

    expect(recvWithFd(client, new Uint8Array(16))).toEqual({ count: 1, passed: undefined });
  });

  it('is refused with EBADF where it is not open, and nothing is sent', () => {
    expect(() => sendWithFd(peer, Uint8Array.of(1), 9999)).toThrow('EBADF');

    sendAll(peer, Uint8Array.of(2));
    const into = new Uint8Array(16);
    expect([recvWithFd(client, into).count, into[0]]).toEqual([1, 2]);
  });
});
