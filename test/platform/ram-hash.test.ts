import { createHash } from 'node:crypto';

import { afterAll, describe, expect, it } from 'vitest';

import { close } from '../../platform/libc/fd.ts';
import { createMemory, Mapping } from '../../platform/memory.ts';
import { combineSlices, hashRam, RamHasher, SLICE_BYTES } from '../../platform/ram-hash.ts';

const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

describe('hashRam', () => {
  it('is the hash of the digests of 8 MiB slices, and sees every byte of a mapped memory object', async () => {
    const length = SLICE_BYTES + 4096;
    const fd = createMemory('hashed', length);
    const mapping = new Mapping(fd, length);
    close(fd);
    const bytes = new Uint8Array(mapping.buffer, 0, length);
    bytes[0] = 1;
    bytes[length - 1] = 2;

    const hash = await hashRam(mapping.buffer, length);
    bytes[length - 1] = 3;
    const changed = await hashRam(mapping.buffer, length);

    const copy = Uint8Array.from(bytes);
    copy[length - 1] = 2;
    const digests = [sha256(copy.subarray(0, SLICE_BYTES)), sha256(copy.subarray(SLICE_BYTES))];
    expect(hash).toBe(sha256(Buffer.concat(digests)).toString('hex'));
    expect(changed).not.toBe(hash);
  });
});

describe('RamHasher', () => {
  const hasher = new RamHasher();
  afterAll(() => hasher.close());

  it('gives one digest per slice, the last one of what is left', async () => {
    const buffer = new SharedArrayBuffer(10_000);
    new Uint8Array(buffer).fill(7);

    const slices = await hasher.slices(buffer, 9000, 4096);

    const sevens = (n: number) => sha256(new Uint8Array(n).fill(7)).toString('hex');
    expect(slices).toEqual([sevens(4096), sevens(4096), sevens(808)]);
    expect(combineSlices(slices)).toHaveLength(64);
  });
});
