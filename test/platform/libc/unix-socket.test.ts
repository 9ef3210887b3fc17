import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { close, getCloexec } from '../../../platform/libc/fd.ts';
import { connectUnix, peerCredentials, recv, sendAll } from '../../../platform/libc/unix-socket.ts';
import { code } from './code.ts';

describe('a UNIX socket', () => {
  it('carries bytes both ways, knows its peer, and ends', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'livevmm-'));
    const path = join(folder, 'socket');
    const server = createServer();
    const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const fd = connectUnix(path);
    const socket = await accepted;
    const received = new Promise((resolve) => socket.once('data', (data) => resolve(String(data))));

    sendAll(fd, Buffer.from('ping'));
    expect(await received).toBe('ping');
    await new Promise<void>((resolve) => socket.write('pong', () => resolve()));
    const bytes = new Uint8Array(16);
    expect(Buffer.from(bytes.subarray(0, recv(fd, bytes))).toString()).toBe('pong');
    expect(peerCredentials(fd).pid).toBe(process.pid);
    expect(getCloexec(fd)).toBe(true);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.destroy();
    await closed;
    expect(recv(fd, bytes)).toBe(0);
    expect(() => {
      for (;;) sendAll(fd, bytes);
    }).toThrow(code('EPIPE'));

    close(fd);
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true });
  });

  it('that is not there is ENOENT, one with a long name ENAMETOOLONG', () => {
    expect(() => connectUnix('/nonexistent/socket')).toThrow(code('ENOENT'));
    expect(() => connectUnix(`/tmp/${'x'.repeat(110)}`)).toThrow(code('ENAMETOOLONG'));
  });
});
