import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';

import { HashQueue, hashObjects } from '../../../devices/board/memory-hash.ts';

/** Hashes that are made when the test says so. */
class Hashes {
  readonly queue = new HashQueue<string>();
  readonly begun: string[] = [];
  readonly #finish: ((result: string) => void)[] = [];

  ask(sliceBytes: number): Promise<string> {
    return this.queue.ask(sliceBytes, () => {
      this.begun.push(`${sliceBytes}`);
      return new Promise((resolve) => this.#finish.push(resolve));
    });
  }

  async finish(result: string): Promise<void> {
    this.#finish.shift()!(result);
    await settled();
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('hashes of memory', () => {
  it('are made one at a time, in the order in which they were asked for', async () => {
    const hashes = new Hashes();
    const answers = [hashes.ask(4096), hashes.ask(8192)];
    await settled();
    expect(hashes.begun).toEqual(['4096']);

    await hashes.finish('a');

    expect(hashes.begun).toEqual(['4096', '8192']);
    await hashes.finish('b');
    expect(await Promise.all(answers)).toEqual(['a', 'b']);
  });

  it('are made once for all who wait for the same, and anew for who asks when it has begun', async () => {
    const hashes = new Hashes();
    const early = hashes.ask(4096);
    await settled();

    const late = Array.from({ length: 1000 }, () => hashes.ask(4096));
    await hashes.finish('of then');
    await hashes.finish('of now');

    expect(hashes.begun).toHaveLength(2);
    expect([await early, ...new Set(await Promise.all(late))]).toEqual(['of then', 'of now']);
  });

  it('that fail do not hold up the next', async () => {
    const queue = new HashQueue<string>();

    const failed = queue.ask(4096, () => Promise.reject(new Error('no memory')));
    const next = queue.ask(4096 * 2, async () => 'a');

    await expect(failed).rejects.toThrow('no memory');
    expect(await next).toBe('a');
  });

  it.each([0, -4096, 1, 2048, 4097, 12288, 4096.5, Number.NaN, Number.POSITIVE_INFINITY])(
    'are refused in slices of %d bytes',
    async (sliceBytes) => {
      const asked = new HashQueue<string>().ask(sliceBytes, async () => 'made');
      await expect(asked).rejects.toMatchObject({ code: 'EINVAL' });
    },
  );
});

describe('an object', () => {
  const objectOf = (pages: number) => {
    const buffer = new SharedArrayBuffer(pages * 4096);
    new Uint8Array(buffer).fill(7);
    return { range: { kind: 'ram', start: 0, size: buffer.byteLength, buffer }, id: { dev: 1, ino: 2 } } as const;
  };

  it('has a digest for each slice', async () => {
    const page = createHash('sha256').update(new Uint8Array(4096).fill(7)).digest('hex');

    expect(await hashObjects([objectOf(2)], 4096)).toEqual([{ dev: 1, ino: 2, size: 8192, slices: [page, page] }]);
  });

  it('of more than 4096 slices is refused: the answer would be as large as it is', async () => {
    await expect(hashObjects([objectOf(1), objectOf(4097)], 4096)).rejects.toMatchObject({ code: 'EINVAL' });
  });
});
