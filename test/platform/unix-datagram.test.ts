import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { close, getCloexec } from '../../platform/libc/fd.ts';
import { receiveDatagram, sendDatagram } from '../../platform/libc/unix-datagram.ts';
import { bindUnix, unixAddress } from '../../platform/libc/unix-socket.ts';
import { openDatagram } from '../../platform/unix-datagram.ts';
import { code } from './libc/code.ts';

let folder: string;
const fds: number[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-datagram-'));
});
afterEach(() => {
  for (const fd of fds.splice(0)) close(fd);
  rmSync(folder, { recursive: true });
});

const at = (name: string): string => join(folder, name);

function opened(name: string): number {
  const fd = openDatagram(at(name));
  fds.push(fd);
  return fd;
}

describe('a datagram socket', () => {
  it('carries datagrams whole and in order, and never waits', () => {
    const [a, b] = [opened('a'), opened('b')];
    const into = new Uint8Array(100);
    expect(receiveDatagram(b, into)).toBeUndefined();
    for (const length of [3, 0, 100]) {
      expect(sendDatagram(a, new Uint8Array(length).fill(length), unixAddress(at('b')))).toBe('sent');
    }
    expect([receiveDatagram(b, into), into[2]]).toEqual([3, 3]);
    expect(receiveDatagram(b, into)).toBe(0);
    expect([receiveDatagram(b, into), into[99]]).toEqual([100, 100]);
    expect(getCloexec(a)).toBe(true);
  });

  it('tells when the receiver is full, and when there is none', () => {
    const [a, b] = [opened('a'), opened('b')];
    const to = unixAddress(at('b'));
    let sent = 0;
    while (sendDatagram(a, Uint8Array.of(sent), to) === 'sent') sent++;
    expect(sent).toBeGreaterThan(0);
    expect(sendDatagram(a, Uint8Array.of(0), to)).toBe('full');
    const into = new Uint8Array(1);
    expect([receiveDatagram(b, into), into[0]]).toEqual([1, 0]);
    expect(sendDatagram(a, Uint8Array.of(0), to)).toBe('sent');
    expect(sendDatagram(a, Uint8Array.of(0), unixAddress(at('nobody')))).toBe('lost');
  });

  it('takes the path of one that was left, and of no other', () => {
    close(openDatagram(at('left')));
    opened('left');
    expect(() => openDatagram(at('left'))).toThrow(code('EADDRINUSE'));
    writeFileSync(at('file'), '');
    expect(() => openDatagram(at('file'))).toThrow(code('EEXIST'));
    expect(() => openDatagram(at('no/where'))).toThrow(`${at('no/where')}: there is no such folder`);
    expect(() => openDatagram(at('x'.repeat(120)))).toThrow(code('ENAMETOOLONG'));
    fds.push(bindUnix(at('stream'), 0o600));
    expect(() => openDatagram(at('stream'))).toThrow(code('EPROTOTYPE'));
    expect(() => openDatagram(at('stream'))).toThrow(`${at('stream')}: somebody has a socket of another type there`);
  });
});
