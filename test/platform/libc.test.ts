import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { codeOf, errnoName, errnoNumber, fromErrno, SysError } from '../../platform/errno.ts';
import { hexRange } from '../../platform/hex.ts';
import {
  close,
  connectUnix,
  dup,
  EFD_NONBLOCK,
  eventfd,
  eventfdRead,
  eventfdSignal,
  execve,
  getCloexec,
  getRlimit,
  POLLIN,
  peerCredentials,
  pidfdGetfd,
  pidfdOpen,
  poll,
  processVmRead,
  RLIMIT_MEMLOCK,
  recv,
  sendAll,
  setCloexec,
} from '../../platform/libc.ts';
import { VmChild } from './vm-child.ts';

const code = (name: string): unknown => expect.objectContaining({ code: name, errno: errnoNumber(name) });

describe('an eventfd', () => {
  it('adds up what is signalled, and is empty after a read', () => {
    const fd = eventfd(2, EFD_NONBLOCK);
    eventfdSignal(fd);

    expect([eventfdRead(fd), eventfdRead(fd)]).toEqual([3, 0]);
    close(fd);
  });

  it('makes poll return', () => {
    const quiet = eventfd(0, EFD_NONBLOCK);
    const busy = eventfd(1, EFD_NONBLOCK);

    const events = poll(
      [quiet, busy].map((fd) => ({ fd, events: POLLIN })),
      1000,
    );

    expect(events).toEqual([0, POLLIN]);
    expect(poll([{ fd: quiet, events: POLLIN }], 0)).toBeUndefined();
    close(quiet);
    close(busy);
  });

  it('that is closed is EBADF', () => {
    const fd = eventfd();
    close(fd);

    expect(() => close(fd)).toThrow(code('EBADF'));
    expect(() => eventfdSignal(fd)).toThrow(code('EBADF'));
  });
});

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

describe('file descriptors', () => {
  it('can be kept over execve or not; a duplicate decides for itself', () => {
    const fd = eventfd();
    const copy = dup(fd);
    expect([getCloexec(fd), getCloexec(copy)]).toEqual([true, false]);

    setCloexec(fd, false);
    setCloexec(copy, true);

    expect([getCloexec(fd), getCloexec(copy)]).toEqual([false, true]);
    close(fd);
    close(copy);
  });

  it('of another process can be fetched, those it does not have are EBADF', async () => {
    const { child, at } = await VmChild.start();
    const pidfd = pidfdOpen(child.pid);

    const fd = pidfdGetfd(pidfd, at.memfd);

    expect(() => pidfdGetfd(pidfd, 9999)).toThrow(code('EBADF'));
    close(fd);
    close(pidfd);
    await child.kill();
    expect(() => pidfdOpen(child.pid)).toThrow(code('ESRCH'));
  });
});

describe('another process', () => {
  it('can be read; a hole is EFAULT', async () => {
    const { child, at } = await VmChild.start();
    const bytes = new Uint8Array(4);

    expect(processVmRead(child.pid, at.private, bytes)).toBe(4);

    expect([...bytes]).toEqual([0x22, 0x22, 0x22, 0x22]);
    expect(() => processVmRead(child.pid, 0x1000, bytes)).toThrow(code('EFAULT'));
    await child.kill();
  });

  it('has limits that can be read', () => {
    const { soft, hard } = getRlimit(process.pid, RLIMIT_MEMLOCK);

    expect(soft <= hard).toBe(true);
  });
});

describe('execve', () => {
  it.each([
    { path: '/nonexistent', error: 'ENOENT' },
    { path: '/etc/passwd', error: 'EACCES' },
    { path: '/', error: 'EACCES' },
  ])('of $path fails with $error and changes nothing', ({ path, error }) => {
    expect(() => execve(path, ['x'], {})).toThrow(code(error));
  });
});

describe('errnos', () => {
  it('have names and numbers', () => {
    expect([errnoName(22), errnoNumber('EINVAL'), errnoName(524)]).toEqual(['EINVAL', 22, 'ENOTSUPP']);
    expect(() => errnoNumber('ENOTHING')).toThrow(RangeError);
  });

  it('have a code, as those of Node have, and what is no error has none', () => {
    const found = [new SysError('EPERM', 'no'), Object.assign(new Error('no'), { code: 'ENOENT' }), new Error('no'), 5];

    expect(found.map(codeOf)).toEqual(['EPERM', 'ENOENT', undefined, undefined]);
  });

  it('come as SysError that says what failed', () => {
    const error = fromErrno(13, 'open x');

    expect(error).toBeInstanceOf(SysError);
    expect([error.code, error.errno, error.message]).toEqual(['EACCES', 13, 'open x: EACCES']);
  });

  it('are printed with ranges as start+size', () => {
    expect(hexRange(0x1000n, 0x2000)).toBe('0x1000+0x2000');
  });
});
