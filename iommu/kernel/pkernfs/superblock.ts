/** The superblock: says whether the memory has a pkernfs, and which one. */
import { einval, eio, SysError } from '../../../platform/errno.ts';
import { type Geometry, MAGIC_HI, MAGIC_LO, MAX_BLOCKS, NR_INODES, Superblock, VERSION } from './layout.ts';
import { checksumOf } from './record.ts';

const { word } = Superblock;

/** Whether somebody has made a file system here. A mkfs that was cut off has made none. */
export const isFormatted = (words: Int32Array): boolean => Atomics.load(words, word.magicLo) !== 0;

/** Makes an empty file system of memory that is all zero, or whose mkfs was cut off. */
export function format(words: Int32Array, { nrBlocks, nrKernelBlocks }: Geometry): void {
  if (nrBlocks > MAX_BLOCKS || nrKernelBlocks < 2 || nrKernelBlocks > nrBlocks) {
    throw einval(`pkernfs of ${nrBlocks} blocks, ${nrKernelBlocks} of them the kernel's`);
  }
  const put = (at: number, value: number): void => void Atomics.store(words, at, value);
  put(word.magicHi, MAGIC_HI);
  put(word.version, VERSION);
  put(word.nrBlocks, nrBlocks);
  put(word.nrKernelBlocks, nrKernelBlocks);
  put(word.nrInodes, NR_INODES);
  put(word.checksum, checksumOf(words, word.magicHi, word.checksum - word.magicHi));
  put(word.magicLo, MAGIC_LO); // pairs with the load in isFormatted
}

/**
 * Checks a superblock and returns what it says. EIO: it is damaged, or of another memory. ENOTSUP:
 * a version that this kernel does not know.
 */
export function checkSuperblock(words: Int32Array, expected: Geometry): void {
  const get = (at: number): number => Atomics.load(words, at);
  if (get(word.magicLo) !== MAGIC_LO || get(word.magicHi) !== MAGIC_HI)
    throw eio('pkernfs: no pkernfs, or its magic is damaged');
  if (get(word.version) !== VERSION) {
    throw new SysError('EOPNOTSUPP', `pkernfs: version ${get(word.version)}, this kernel knows ${VERSION}`);
  }
  const checksum = checksumOf(words, word.magicHi, word.checksum - word.magicHi);
  if (get(word.checksum) !== checksum) throw eio('pkernfs: the superblock is damaged: its checksum does not match');
  const there = {
    nrBlocks: get(word.nrBlocks),
    nrKernelBlocks: get(word.nrKernelBlocks),
    nrInodes: get(word.nrInodes),
  };
  if (
    there.nrBlocks !== expected.nrBlocks ||
    there.nrKernelBlocks !== expected.nrKernelBlocks ||
    there.nrInodes !== NR_INODES
  ) {
    throw eio(`pkernfs: made for ${there.nrBlocks} blocks, and the memory has ${expected.nrBlocks}`);
  }
}
