import { describe, expect, it } from 'vitest';

import { BLOCK_BYTES, BLOCK_WORDS } from '../../../../iommu/kernel/pkernfs/layout.ts';
import { Pkernfs } from '../../../../iommu/kernel/pkernfs/pkernfs.ts';

const GEOMETRY = { nrBlocks: 8, nrKernelBlocks: 4 };

/** A file system over memory of its own; the runs that the board has attached. */
function board() {
  const words = new Int32Array(GEOMETRY.nrKernelBlocks * BLOCK_WORDS);
  const runs = new Set<number>();
  const extents = {
    attached: () => runs,
    attach: (first: number) => void runs.add(first),
    detach: (first: number) => void runs.delete(first),
  };
  const boot = (geometry = GEOMETRY): Pkernfs => new Pkernfs({ words, geometry, extents });
  return { words, runs, boot };
}

describe('pkernfs (PKF-1)', () => {
  it('is found by the next kernel with all files', () => {
    const { boot } = board();
    const fs = boot();
    fs.truncate(fs.create('ram'), 3 * BLOCK_BYTES);
    fs.create('iommu/dom-0');
    const next = boot();
    expect(next.state).toMatchObject({ fresh: false, repaired: 0, damage: [] });
    expect([...next.files()].map(({ name, size }) => [name, size])).toEqual([
      ['ram', 3 * BLOCK_BYTES],
      ['iommu/dom-0', BLOCK_BYTES],
    ]);
  });

  it.each([
    ['a name twice', (fs: Pkernfs) => void [fs.create('a'), fs.create('a')], 'EEXIST'],
    ['no name', (fs: Pkernfs) => void fs.create('..'), 'EINVAL'],
    ['a folder that there is not', (fs: Pkernfs) => void fs.create('a/b'), 'EINVAL'],
    ['a name of 48 bytes', (fs: Pkernfs) => void fs.create('a'.repeat(48)), 'ENAMETOOLONG'],
    ['a file that is not there', (fs: Pkernfs) => fs.unlink('a'), 'ENOENT'],
    ['a part of a page', (fs: Pkernfs) => fs.truncate(fs.create('a'), 100), 'EINVAL'],
    ['more than there is', (fs: Pkernfs) => fs.truncate(fs.create('a'), 5 * BLOCK_BYTES), 'ENOSPC'],
    ['the size of page tables', (fs: Pkernfs) => fs.truncate(fs.create('iommu/a'), 4096), 'EINVAL'],
    [
      'a fourth file of the kernel',
      (fs: Pkernfs) => {
        for (const name of 'abcd') fs.create(`iommu/${name}`);
      },
      'ENOSPC',
    ],
  ])('refuses %s', (_, change, code) => {
    expect(() => change(board().boot())).toThrow(expect.objectContaining({ code }));
  });

  it('gives a file its size once, until it is emptied', () => {
    const fs = board().boot();
    const file = fs.create('ram');
    fs.truncate(file, BLOCK_BYTES);
    expect(() => fs.truncate(file, 2 * BLOCK_BYTES)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    fs.truncate(file, 0);
    fs.truncate(file, 2 * BLOCK_BYTES);
    expect(file.size).toBe(2 * BLOCK_BYTES);
  });

  it('gives page tables memory that is zero, whatever lay there before', () => {
    const { words, boot } = board();
    const fs = boot();
    const { firstBlock } = fs.create('iommu/a').inode;
    words.fill(-1, firstBlock * BLOCK_WORDS, (firstBlock + 1) * BLOCK_WORDS);
    fs.unlink('iommu/a');
    fs.create('iommu/b');
    const block = words.subarray(firstBlock * BLOCK_WORDS, (firstBlock + 1) * BLOCK_WORDS);
    expect(block.every((word) => word === 0)).toBe(true);
  });

  it.each([
    ['magic', 0, 'EIO', /magic/],
    ['magic behind it', 1, 'EIO', /magic/],
    ['version', 2, 'EOPNOTSUPP', /version/],
    ['number of blocks', 3, 'EIO', /checksum/],
    ['checksum', 6, 'EIO', /checksum/],
  ])('refuses a superblock whose %s is another one, and leaves it', (_, word, code, message) => {
    const { words, boot } = board();
    boot().create('a');
    words[word]! += 1;
    const before = words.slice(0, 8192);
    expect(() => boot()).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) as string }));
    expect(words.slice(0, 8192)).toEqual(before);
  });

  it('refuses memory of another size', () => {
    const { boot } = board();
    boot();
    expect(() => boot({ nrBlocks: 9, nrKernelBlocks: 4 })).toThrow(/made for 8 blocks/);
  });

  it('takes memory back that no file has', () => {
    const { runs, boot } = board();
    boot();
    runs.add(5);
    boot();
    expect([...runs]).toEqual([]);
  });
});

describe('a file that devices use (PKF-5, RACE-25)', () => {
  it.each(['unlink', 'truncate'])('is not changed by %s', (op) => {
    const fs = board().boot();
    const file = fs.create('ram');
    fs.truncate(file, BLOCK_BYTES);
    file.uses++;
    const change = (): void => (op === 'unlink' ? fs.unlink('ram') : fs.truncate(file, 0));
    expect(change).toThrow(expect.objectContaining({ code: 'EBUSY' }));
    file.uses--;
    change();
  });

  it('is not changed while page tables of an earlier kernel lead there', () => {
    const fs = board().boot();
    const file = fs.create('ram');
    fs.truncate(file, BLOCK_BYTES);
    fs.reaches = (first, count) => first === file.inode.firstBlock && count === 1;
    expect(() => fs.unlink('ram')).toThrow(expect.objectContaining({ code: 'EBUSY' }));
    fs.reaches = () => false;
    fs.unlink('ram');
  });
});
