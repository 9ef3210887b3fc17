import { describe, expect, it } from 'vitest';

import { rawMode } from '../../../platform/libc/termios.ts';
import { Escape } from '../../../vmm/vm/escape.ts';

const take = (escapes: Escape, text: string) => {
  const { guest, keys } = escapes.take(Buffer.from(text, 'latin1'));
  return [Buffer.from(guest).toString('latin1'), keys];
};

describe('Ctrl-a', () => {
  it('ends the VM with x, helps with h, and is sent by itself', () => {
    const escapes = new Escape();
    expect(take(escapes, 'ab\x01xc')).toEqual(['abc', ['quit']]);
    expect(take(escapes, '\x01h\x01?')).toEqual(['', ['help', 'help']]);
    expect(take(escapes, '\x01\x01x')).toEqual(['\x01x', []]);
    expect(take(escapes, '\x01qy')).toEqual(['y', []]);
  });

  it('waits for its key, also when that comes later', () => {
    const escapes = new Escape();
    expect([take(escapes, 'a\x01'), escapes.pending]).toEqual([['a', []], true]);
    expect([take(escapes, 'x'), escapes.pending]).toEqual([['', ['quit']], false]);
  });
});

describe('a raw terminal', () => {
  it('gives each byte as it was typed, and processes output', () => {
    const cooked = new Uint8Array(60);
    const view = new DataView(cooked.buffer);
    view.setUint32(0, 0o42400, true); // ICRNL, IXON, IUTF8
    view.setUint32(4, 0o5, true); // OPOST, ONLCR
    view.setUint32(8, 0o277, true);
    view.setUint32(12, 0o105073, true); // IEXTEN, ECHOKE, ECHOE, ECHOK, ECHO, ICANON, ISIG
    const raw = new DataView(rawMode(cooked).buffer);
    expect([0, 4, 8, 12].map((at) => raw.getUint32(at, true))).toEqual([0o40000, 0o5, 0o277, 0o5060]);
    expect([raw.getUint8(17 + 6), raw.getUint8(17 + 5)]).toEqual([1, 0]);
  });

  it('is made of a mode that came over an update, in a Buffer, and leaves that as it was', () => {
    const message = Buffer.alloc(100, 0xff);
    const cooked = message.subarray(20, 80);
    const raw = rawMode(cooked);
    expect(raw).toEqual(rawMode(new Uint8Array(60).fill(0xff)));
    expect(message).toEqual(Buffer.alloc(100, 0xff));
  });
});
