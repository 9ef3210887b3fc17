import { closeSync, openSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { close, getCloexec } from '../../platform/libc/fd.ts';
import { createMemory, Mapping, objectId } from '../../platform/memory.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { startWorker } from '../../platform/thread.ts';
import { type Mappings, VmChild } from './vm-child.ts';

describe('createMemory', () => {
  it('makes an object of that size that an execve would close', () => {
    const fd = createMemory('test', 3 * PAGE_SIZE);

    expect(getCloexec(fd)).toBe(true);
    expect(new Mapping(fd, 3 * PAGE_SIZE).length).toBe(3 * PAGE_SIZE);
    close(fd);
  });

  it('has an identity that all descriptors of it share', () => {
    const fd = createMemory('test', PAGE_SIZE);
    const other = createMemory('test', PAGE_SIZE);
    const again = openSync(`/proc/self/fd/${fd}`, 'r+');

    expect(objectId(again)).toEqual(objectId(fd));
    expect(objectId(other)).not.toEqual(objectId(fd));
    closeSync(again);
    close(fd);
    close(other);
  });
});

describe('Mapping', () => {
  it('that drops its pages has none of them mapped, and all of their bytes', () => {
    const bytes = 64 * 1024 * 1024;
    const fd = createMemory('test', bytes);
    const mapping = new Mapping(fd, bytes);
    close(fd);
    const shared = (): number =>
      Number(/^RssShmem:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'))![1]) * 1024;
    new Uint8Array(mapping.buffer).fill(7);
    const before = shared();

    mapping.dropPages();

    expect(before - shared()).toBeGreaterThan(bytes / 2);
    expect(new Uint8Array(mapping.buffer).every((byte) => byte === 7)).toBe(true);
    mapping.release();
  });

  it('begins at a page, and two of one object show the same bytes', () => {
    const fd = createMemory('test', 4 * PAGE_SIZE);
    const whole = new Mapping(fd, 4 * PAGE_SIZE);
    const third = new Mapping(fd, PAGE_SIZE, 2 * PAGE_SIZE);
    close(fd);

    new Uint8Array(whole.buffer)[2 * PAGE_SIZE + 5] = 77;

    expect(new Uint8Array(third.buffer)[5]).toBe(77);
    expect([whole.vaddr % PAGE_SIZE, third.vaddr % PAGE_SIZE]).toEqual([0, 0]);
  });

  it.each([
    { length: 0, offset: 0 },
    { length: -4096, offset: 0 },
    { length: 2 ** 32 + 4096, offset: 0 },
    { length: 4096, offset: 100 },
  ])('refuses length $length at offset $offset with EINVAL', ({ length, offset }) => {
    const fd = createMemory('test', PAGE_SIZE);

    expect(() => new Mapping(fd, length, offset)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    close(fd);
  });

  it('lets go of the object at release: its bytes stay as they are, and a late access reads 0 and harms nobody', () => {
    const fd = createMemory('test', PAGE_SIZE);
    const mapping = new Mapping(fd, PAGE_SIZE);
    const other = new Mapping(fd, PAGE_SIZE);
    const bytes = new Uint8Array(mapping.buffer);
    bytes[0] = 1;

    mapping.release();
    const late = bytes[0];
    bytes[0] = 99;

    expect([late, new Uint8Array(other.buffer)[0]]).toEqual([0, 1]);
    close(fd);
  });

  it('is the same bytes in a worker thread', async () => {
    const fd = createMemory('test', PAGE_SIZE);
    const mapping = new Mapping(fd, PAGE_SIZE);
    close(fd);
    const worker = startWorker('test/platform/echo-worker', mapping.buffer, { name: 'echo' });
    await new Promise((resolve) => worker.once('exit', resolve));

    expect(new Uint8Array(mapping.buffer)[0]).toBe(42);
  });
});

describe('a Mapping of another process’ object', () => {
  let child: VmChild;
  let at: Mappings;
  beforeEach(async () => {
    ({ child, at } = await VmChild.start());
  });
  afterEach(() => child.kill());

  it('shows what that process writes, while and after it lives', async () => {
    const fd = openSync(`/proc/${child.pid}/fd/${at.memfd}`, 'r+');
    const mapping = new Mapping(fd, 4 * PAGE_SIZE, 2 * PAGE_SIZE);
    closeSync(fd);
    const bytes = new Uint8Array(mapping.buffer);
    const before = bytes[0];

    await child.tell('poke');
    const after = bytes[0];
    await child.kill();

    expect([before, after, bytes[0], bytes[4]]).toEqual([0x11, 0x5a, 0x5a, 0x11]);
  });
});
