/**
 * Where everything lies in the memory of pkernfs. The first block has the superblock, the bitmap of
 * blocks, the inodes and the directory. The board keeps this memory while kernels come and go; a
 * kernel is its only writer. A store may be the last one of its kernel, so each change becomes
 * visible by one store, and what was written before it counts for nothing (record.ts).
 */
import { PAGE_SIZE } from '../../../platform/page.ts';
import { atomic32, atomic32s, bytes, defineShared } from '../../../platform/shared.ts';

export const BLOCK_BYTES = 2 * 2 ** 20;
export const BLOCK_PAGES = BLOCK_BYTES / PAGE_SIZE;
export const BLOCK_WORDS = BLOCK_BYTES / 4;
/** The most blocks: 8 GiB. */
export const MAX_BLOCKS = 4096;
export const NR_INODES = 128;

/** "pker", "nfs\0" */
export const MAGIC_LO = 0x72656b70;
export const MAGIC_HI = 0x0073666e;
export const VERSION = 1;

export interface Geometry {
  readonly nrBlocks: number;
  /** The first ones. No user can map them. */
  readonly nrKernelBlocks: number;
}

/** Never written again after mkfs; magicLo is stored last and publishes the rest. */
export const Superblock = defineShared('pkernfs superblock', {
  magicLo: atomic32,
  magicHi: atomic32,
  version: atomic32,
  nrBlocks: atomic32, // of the whole memory
  nrKernelBlocks: atomic32, // the first ones: no user can map them
  nrInodes: atomic32,
  checksum: atomic32, // of the words before it
});

/** A version of an inode; see record.ts for `checksum`. */
export const InodeSlot = defineShared('pkernfs inode', {
  sequence: atomic32, // the greater one of the two versions is in force
  kind: atomic32, // KIND
  sizePages: atomic32,
  firstBlock: atomic32,
  nrBlocks: atomic32,
  checksum: atomic32,
  pad: bytes(8),
});
/** Words of a slot. An inode has two of them. */
export const SLOT_WORDS = 8;

export const NAME_BYTES = 48;

/** An entry of the directory; see record.ts for `checksum`. */
export const Dirent = defineShared('pkernfs directory entry', {
  inode: atomic32,
  name: atomic32s(NAME_BYTES / 4), // NUL padded
  checksum: atomic32,
  pad: bytes(8),
});

const WORDS_OF_PAGE = PAGE_SIZE / 4;
/** Words from the start of the memory. */
export const BITMAP_AT = WORDS_OF_PAGE;
export const INODES_AT = 2 * WORDS_OF_PAGE;
export const DIRECTORY_AT = 4 * WORDS_OF_PAGE;

/** What an inode is. */
export const KIND = {
  free: 0,
  /** Guest RAM, or a saved state: users map it. */
  data: 1,
  /** The page tables of one IOMMU domain. */
  domain: 2,
  /** The device directory of an IOMMU unit. */
  root: 3,
  /** The mappings of a container. */
  container: 4,
} as const;
export type Kind = (typeof KIND)[keyof typeof KIND];
