import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { type DiskOptions, openDisk } from '../../../devices/virtio/disk-file.ts';
import { close, dup } from '../../../platform/libc/fd.ts';

let folder: string;
let file: string;
let open: number[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-image-lock-'));
  file = join(folder, 'disk.img');
  writeFileSync(file, Buffer.alloc(512));
  open = [];
});
afterEach(() => {
  for (const fd of open) close(fd);
  rmSync(folder, { recursive: true });
});

const WRITER = { readOnly: false, locking: 'auto', shareRw: false } as const;
const READER = { ...WRITER, readOnly: true };
const SHARING_WRITER = { ...WRITER, shareRw: true };
const SHARING_READER = { ...READER, shareRw: true };

/** Opens the image; what the user is told otherwise. */
function used(use: Pick<DiskOptions, 'readOnly' | 'locking' | 'shareRw'>): string {
  try {
    open.push(openDisk({ file, cache: 'writeback', serial: '', ...use }, '-drive').fd);
    return 'open';
  } catch (error) {
    return (error as Error).message;
  }
}

const NO_WRITE = 'Failed to get "write" lock';
const NO_SHARED_WRITE = 'Failed to get shared "write" lock';

describe('an image', () => {
  // As QEMU 7.2 and 11.0 do it.
  it.each([
    ['a writer', WRITER, 'a writer', WRITER, NO_WRITE],
    ['a writer', WRITER, 'a reader', READER, NO_SHARED_WRITE],
    ['a reader', READER, 'a writer', WRITER, NO_WRITE],
    ['a reader', READER, 'a reader', READER, 'open'],
    ['a writer that shares', SHARING_WRITER, 'another', SHARING_WRITER, 'open'],
    ['a writer that shares', SHARING_WRITER, 'a writer that does not', WRITER, NO_SHARED_WRITE],
    ['a writer', WRITER, 'a writer that shares', SHARING_WRITER, NO_WRITE],
    ['a writer that shares', SHARING_WRITER, 'a reader that shares', SHARING_READER, 'open'],
    ['a writer', WRITER, 'a writer without locks', { ...WRITER, locking: 'off' }, 'open'],
    ['a writer without locks', { ...WRITER, locking: 'off' }, 'a writer', WRITER, 'open'],
  ] as const)('%#: that %s has open', (_first, first, _second, second, expected) => {
    expect(used(first)).toBe('open');
    expect(used(second)).toBe(
      expected === 'open' ? 'open' : `-drive: ${file}: ${expected}. Is another process using the image?`,
    );
  });

  it('stays locked until the last copy of the fd is closed', () => {
    expect(used(WRITER)).toBe('open');
    open.push(dup(open[0]!));
    close(open.shift()!);
    expect(used(WRITER)).toContain(NO_WRITE);
    close(open.shift()!);
    expect(used(WRITER)).toBe('open');
  });

  it('that was refused is not locked by who was refused', () => {
    expect(used(READER)).toBe('open');
    expect(used(WRITER)).toContain(NO_WRITE);
    expect(used(READER)).toBe('open');
  });
});
