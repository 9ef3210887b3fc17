import { existsSync, mkdtempSync, openSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { close, lockNow } from '../../platform/libc/fd.ts';
import { bindUnix, connectUnix, connectUnixNow } from '../../platform/libc/unix-socket.ts';
import { isAlive, listenUnix, removeDeadSocket } from '../../platform/unix-listener.ts';

let folder: string;
let path: string;
const fds: number[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-listener-'));
  path = join(folder, 'x.sock');
});
afterEach(() => {
  for (const fd of fds.splice(0)) close(fd);
  rmSync(folder, { recursive: true });
});

function opened(fd: number): number {
  fds.push(fd);
  return fd;
}

/** As a process leaves it that is killed. */
function leaveDead(at = path): void {
  close(bindUnix(at, 0o600));
}

function fillQueue(): void {
  for (;;) {
    try {
      opened(connectUnixNow(path));
    } catch {
      return; // EAGAIN
    }
  }
}

describe('removeDeadSocket', () => {
  it('removes a socket on which nobody listens', () => {
    leaveDead();
    removeDeadSocket(path);
    expect(readdirSync(folder)).toEqual([]);
    removeDeadSocket(path);
  });

  it('leaves one on which somebody does, and what is no socket', () => {
    opened(listenUnix(path));
    const file = join(folder, 'file');
    writeFileSync(file, '');
    removeDeadSocket(path);
    removeDeadSocket(file);
    expect(readdirSync(folder).toSorted()).toEqual(['file', 'x.sock']);
  });
});

describe('listenUnix', () => {
  it('listens, with nothing but the socket in the folder, mode 0600', () => {
    opened(listenUnix(path));
    opened(connectUnix(path));
    expect(readdirSync(folder)).toEqual(['x.sock']);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('takes over what a dead process left, whatever else it left', () => {
    leaveDead();
    leaveDead(`${path}~`);
    expect(isAlive(path)).toBe(false);
    opened(listenUnix(path));
    expect(readdirSync(folder)).toEqual(['x.sock']);
    expect(isAlive(path)).toBe(true);
  });

  it('refuses a path where somebody listens, and leaves it', () => {
    opened(listenUnix(path));
    expect(() => listenUnix(path)).toThrow(
      expect.objectContaining({ code: 'EADDRINUSE', message: `${path}: somebody is listening there already` }),
    );
    opened(connectUnix(path));
  });

  it('refuses it also where somebody listens who is too busy to accept', () => {
    opened(listenUnix(path));
    fillQueue();
    expect(() => connectUnixNow(path)).toThrow(expect.objectContaining({ code: 'EAGAIN' }));
    expect(() => listenUnix(path)).toThrow(expect.objectContaining({ code: 'EADDRINUSE' }));
  });

  it('leaves a file that is no socket', () => {
    writeFileSync(path, 'mine');
    expect(() => listenUnix(path)).toThrow(`${path} exists and is not a socket`);
    expect(existsSync(path)).toBe(true);
  });

  it('says in one line that it needs a name beside it for a moment', () => {
    writeFileSync(`${path}~`, 'mine');
    expect(() => listenUnix(path)).toThrow(`${path}~ exists and is not a socket`);
  });

  it('takes a path as long as can be', () => {
    const longest = join(folder, 'x'.repeat(107 - folder.length - 1));
    opened(listenUnix(longest));
    opened(connectUnix(longest));
  });

  it.each([
    ['a missing folder', () => join(folder, 'none', 'x.sock'), 'there is no such folder'],
    ['a file as folder', () => join(import.meta.filename, 'x.sock'), 'there is no such folder'],
    ['a path that is too long', () => join(folder, 'x'.repeat(108)), 'a socket path has at most 107 bytes'],
  ])('says in one line what is wrong with %s', (_, where, reason) => {
    expect(() => listenUnix(where())).toThrow(`${where()}: ${reason}`);
  });

  it('does nothing while another one holds the lock of the folder, and gives up in time', () => {
    leaveDead();
    const lock = opened(openSync(folder, 'r'));
    expect(lockNow(lock)).toBe(true);
    expect(() => listenUnix(path)).toThrow(
      expect.objectContaining({ code: 'EBUSY', message: `${path}: somebody holds the lock of its folder` }),
    );
    expect(isAlive(path)).toBe(false);
  });

  it('leaves no lock', () => {
    opened(listenUnix(path));
    expect(() => listenUnix(path)).toThrow();
    expect(lockNow(opened(openSync(folder, 'r')))).toBe(true);
  });
});
