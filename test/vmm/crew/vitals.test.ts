import { openSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { close, getCloexec } from '../../../platform/libc/fd.ts';
import { ftruncate, pwrite } from '../../../platform/libc/file-bytes.ts';
import { createMemory } from '../../../platform/memory.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { int32s } from '../../../platform/shared.ts';
import { Vitals } from '../../../vmm/crew/vitals.ts';
import { createVmShared, type VmShared } from '../../../vmm/crew/vm-shared.ts';

let vitals: Vitals;
let others: Vitals[];

beforeEach(() => {
  vitals = Vitals.create(2);
  others = [];
});

afterEach(() => {
  for (const each of [vitals, ...others]) each.release();
});

/** As another process has it, by a descriptor of its own. */
function opened(): Vitals {
  const other = Vitals.open(openSync(`/proc/self/fd/${vitals.fd}`, 'r+'));
  others.push(other);
  return other;
}

const partsOf = (shared: VmShared) => Object.values(shared);

describe('the vital signs', () => {
  it('show the same words to whoever has the object', () => {
    const other = opened();
    for (const [i, part] of partsOf(vitals.shared).entries()) int32s(part).fill(i + 1);

    expect(other.harts).toBe(2);
    expect(other.shared.control.buffer).not.toBe(vitals.shared.control.buffer);
    const first = partsOf(other.shared).map((part) => int32s(part)[0]);
    const last = partsOf(other.shared).map((part) => int32s(part).at(-1));
    expect(first).toEqual(first.map((_, i) => i + 1));
    expect(last).toEqual(first);
  });

  it('begin as zeros, each part on its own pages', () => {
    const parts = partsOf(vitals.shared);

    expect(parts.flatMap((part) => [...int32s(part)]).every((word) => word === 0)).toBe(true);
    expect(parts.map(({ offset }) => offset % PAGE_SIZE)).toEqual(parts.map(() => 0));
    expect(parts.map(({ size }) => size)).toEqual(partsOf(createVmShared(2)).map(({ size }) => size));
  });

  it('are closed by an execve, and never shrink', () => {
    expect(getCloexec(vitals.fd)).toBe(true);
    expect(() => ftruncate(vitals.fd, PAGE_SIZE)).toThrow('EPERM');
  });

  it.each([
    ['an object that is none', 0, 0, 'no vital signs'],
    ['another layout', 4, 77, 'layout 77'],
    ['a number of harts that does not fit its size', 8, 400, 'bytes for 400 harts'],
    ['no harts', 8, 0, 'bytes for 0 harts'],
    ['harts without number', 8, 0x7fff_ffff, 'bytes for 2147483647 harts'],
  ])('are refused: %s', (_what, offset, word, message) => {
    pwrite(vitals.fd, new Uint8Array(new Int32Array([word]).buffer), offset);

    expect(opened).toThrow(message);
  });

  it('are refused in an object that is too small', () => {
    const fd = createMemory('small', 16);

    expect(() => Vitals.open(fd)).toThrow('an object of 16 bytes');
    close(fd);
  });
});
