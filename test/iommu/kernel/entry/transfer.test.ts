import { describe, expect, it } from 'vitest';

import { readFile, writeFile } from '../../../../iommu/kernel/entry/transfer.ts';
import { einval, eio } from '../../../../platform/errno.ts';

const task = { pid: 1, killed: new AbortController().signal };

/**
 * A file of `size` bytes, each the low byte of its offset. EINVAL at its end and behind it, as a
 * BAR.
 */
function fileOf(size: number): (offset: bigint, length: number) => Uint8Array {
  return (offset, length) => {
    if (Number(offset) >= size) throw einval('behind the end');
    return Uint8Array.from({ length: Math.min(length, size - Number(offset)) }, (_, i) => Number(offset) + i);
  };
}

/** Takes as long as registers do. */
function slowly<T>(value: T): T {
  const end = performance.now() + 0.5;
  while (performance.now() < end);
  return value;
}

describe('readFile', () => {
  it('answers a short one at once', () => {
    expect(readFile(fileOf(4096), { offset: 8n, length: 3, task })).toEqual(Uint8Array.of(8, 9, 10));
  });

  it.each([
    [600, 600],
    [5000, 5000],
    [5000, 1024],
    [5000, 1030],
  ])('of %i bytes reads all that a file of %i has', async (length, size) => {
    const data = await readFile(fileOf(size), { offset: 0n, length, task });
    expect(data).toEqual(fileOf(size)(0n, length));
  });

  it('refuses what the first byte refuses', async () => {
    await expect(readFile(fileOf(64), { offset: 64n, length: 4096, task })).rejects.toMatchObject({
      code: 'EINVAL',
    });
  });

  it('fails with the errno of a later byte', async () => {
    const pread = (offset: bigint, length: number): Uint8Array => {
      if (offset > 1000n) throw eio('decoding is off');
      return new Uint8Array(length);
    };
    await expect(readFile(pread, { offset: 0n, length: 4096, task })).rejects.toMatchObject({ code: 'EIO' });
  });

  it('lets others be served while a long one goes on', async () => {
    let served = 0;
    const serve = (): void => {
      served++;
      next = setImmediate(serve);
    };
    let next = setImmediate(serve);
    await readFile((_, length) => slowly(new Uint8Array(length)), { offset: 0n, length: 20 * 512, task });
    clearImmediate(next);
    expect(served).toBeGreaterThan(3);
  });

  it('ends when its caller is killed', async () => {
    const killer = new AbortController();
    setImmediate(() => killer.abort());
    const pread = (_: bigint, length: number): Uint8Array => slowly(new Uint8Array(length));
    const reading = readFile(pread, { offset: 0n, length: 2 ** 20, task: { pid: 1, killed: killer.signal } });
    await expect(reading).rejects.toMatchObject({ code: 'EINTR' });
  });
});

describe('writeFile', () => {
  it('writes a long one in the order of its bytes, up to the end of the file', async () => {
    const written: number[] = [];
    const pwrite = (offset: bigint, data: Uint8Array): number => {
      const room = Math.min(data.length, 1500 - Number(offset));
      written.push(...data.subarray(0, room));
      return room;
    };
    const data = Uint8Array.from({ length: 4096 }, (_, i) => i * 7);
    expect(await writeFile(pwrite, data, { offset: 100n, task })).toBe(1400);
    expect(written).toEqual([...data.subarray(0, 1400)]);
  });
});
