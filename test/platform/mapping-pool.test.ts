import { afterEach, describe, expect, it } from 'vitest';
import { close } from '../../platform/libc/fd.ts';
import { MappingPool } from '../../platform/mapping-pool.ts';
import { createMemory, MAX_MAPPING, Mapping } from '../../platform/memory.ts';
import { PAGE_SIZE } from '../../platform/page.ts';

const fds: number[] = [];
afterEach(() => {
  for (const fd of fds.splice(0)) close(fd);
});

function object(size: number): number {
  const fd = createMemory('object', size);
  fds.push(fd);
  return fd;
}

describe('a pool of mappings', () => {
  it('uses the address space of one that has gone for the next, be it longer or shorter', () => {
    const pool = new MappingPool(1);
    for (const size of [PAGE_SIZE, 3 * 65536, PAGE_SIZE, 2 ** 20]) {
      const fd = object(size);
      const other = new Mapping(fd, size);
      const mapping = pool.map(fd, size);
      const bytes = new Uint8Array(mapping.buffer);
      bytes[size - 1] = 7;
      expect(new Uint8Array(other.buffer)[size - 1]).toBe(7);
      expect(bytes.length).toBeGreaterThanOrEqual(size);
      mapping.release();
      bytes[size - 1] = 8; // harmless
      expect(new Uint8Array(other.buffer)[size - 1]).toBe(7);
    }
  });

  it('shows nothing of the object before behind the end of a shorter one', () => {
    const pool = new MappingPool(1);
    const long = pool.map(object(65536), 65536);
    new Uint8Array(long.buffer).fill(9);
    long.release();
    const short = new Uint8Array(pool.map(object(PAGE_SIZE), PAGE_SIZE).buffer);
    expect(short.every((byte) => byte === 0)).toBe(true);
  });

  it('ENOMEM when all are in use, EINVAL for what no mapping holds; neither costs anything', () => {
    const pool = new MappingPool(1);
    const fd = object(PAGE_SIZE);
    expect(() => pool.map(fd, MAX_MAPPING + PAGE_SIZE)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => pool.map(-1, PAGE_SIZE)).toThrow(expect.objectContaining({ code: 'EBADF' }));
    const mapping = pool.map(fd, PAGE_SIZE);
    expect(() => pool.map(fd, PAGE_SIZE)).toThrow(expect.objectContaining({ code: 'ENOMEM' }));
    mapping.release();
    pool.map(fd, PAGE_SIZE).release();
  });

  it('keeps its promise for thousands that come and go faster than garbage is collected', () => {
    const pool = new MappingPool(4);
    const fd = object(PAGE_SIZE);
    // without a pool 12 000 of them are all that fit
    for (let i = 0; i < 20_000; i++) pool.map(fd, PAGE_SIZE).release();
  });
});
