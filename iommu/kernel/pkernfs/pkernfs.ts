/**
 * pkernfs: a file system in memory that outlives the kernel (PKF-1). Files are guest RAM and saved
 * states, which users map, and page tables and mappings, which only the kernel touches. A file gets
 * its size once and has one run of blocks of 2 MiB. The board gives each run of a user's file an
 * object of its own: whoever maps that file can reach nothing else.
 */
import { ebusy, eexist, einval, enoent, eperm, SysError } from '../../../platform/errno.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { kindOf } from './directory.ts';
import { FREE, type Inode } from './inodes.ts';
import { BLOCK_BYTES, BLOCK_PAGES, BLOCK_WORDS, type Geometry, KIND, type Kind } from './layout.ts';
import { type Mounted, mount } from './mount.ts';

/** The memory behind users' files. The board owns it. */
export interface Extents {
  /** First blocks of the runs that are attached. */
  attached(): Iterable<number>;
  /** Makes the run memory, all zero. ENOMEM. */
  attach(firstBlock: number, nrBlocks: number): void;
  /** No table leads to the run any more. */
  detach(firstBlock: number): void;
}

export interface PkernfsOptions {
  /** The kernel's blocks. */
  readonly words: Int32Array;
  readonly geometry: Geometry;
  readonly extents: Extents;
}

/** A file while it has a name. */
export class File {
  readonly name: string;
  readonly number: number;
  readonly kind: Kind;
  inode: Inode;
  /** Pins of its pages, and containers and units that it is in use by. */
  uses = 0;
  /** Unlinked: whoever has it open finds it stale. */
  gone = false;

  constructor(name: string, number: number, inode: Inode) {
    this.name = name;
    this.number = number;
    this.kind = inode.kind;
    this.inode = inode;
  }

  get size(): number {
    return this.inode.sizePages * PAGE_SIZE;
  }
}

/** The runs of all kernels' blocks that users' tables lead to, in blocks. */
export type Reaches = (firstBlock: number, nrBlocks: number) => boolean;

export class Pkernfs {
  readonly words: Int32Array;
  readonly #extents: Extents;
  readonly #mounted: Mounted;
  readonly #files = new Map<string, File>();
  /** Whether a device's page tables lead to a run of blocks, in no user's name. */
  reaches: Reaches = () => false;

  /** EIO, EOPNOTSUPP: there is a file system, and it cannot be used. */
  constructor({ words, geometry, extents }: PkernfsOptions) {
    this.words = words;
    this.#extents = extents;
    this.#mounted = mount(words, geometry);
    const { entries, inodes, damage } = this.#mounted;
    for (const { name, inode } of entries) this.#files.set(name, new File(name, inode, inodes.read(inode)));
    if (damage.length === 0) this.#matchExtents();
  }

  /** What the mount has found: `livevmm info` shows it. */
  get state(): Pick<Mounted, 'fresh' | 'repaired' | 'damage'> {
    return this.#mounted;
  }

  get nrFreeBlocks(): number {
    return this.#mounted.blocks.nrFree;
  }

  /** A crash may have left memory attached that no file has. */
  #matchExtents(): void {
    const owned = new Set<number>();
    for (const { kind, inode } of this.#files.values()) {
      if (kind === KIND.data && inode.nrBlocks > 0) owned.add(inode.firstBlock);
    }
    for (const first of [...this.#extents.attached()]) if (!owned.has(first)) this.#extents.detach(first);
  }

  files(): Iterable<File> {
    return this.#files.values();
  }

  /** ENOENT. */
  lookup(name: string): File {
    const file = this.#files.get(name);
    if (!file) throw enoent(`pkernfs: no file ${name}`);
    return file;
  }

  /** open(O_CREAT|O_EXCL). EEXIST, EINVAL, ENAMETOOLONG, ENOSPC; EROFS after damage. */
  create(name: string, kind = kindOf(name)): File {
    if (this.#files.has(name)) throw eexist(`pkernfs: ${name} exists`);
    this.#checkWritable();
    const { inodes, directory, blocks } = this.#mounted;
    const number = inodes.findFree();
    const inode = kind === KIND.data ? { ...FREE, kind } : this.#withBlock(kind);
    inodes.write(number, inode);
    try {
      directory.add(name, number);
    } catch (error) {
      inodes.write(number, FREE);
      blocks.give(inode.firstBlock, inode.nrBlocks);
      throw error;
    }
    const file = new File(name, number, inode);
    this.#files.set(name, file);
    return file;
  }

  /** The kernel's files have one block, which is all zero at first. */
  #withBlock(kind: Kind): Inode {
    const firstBlock = this.#mounted.blocks.takeKernelBlock();
    this.words.fill(0, firstBlock * BLOCK_WORDS, (firstBlock + 1) * BLOCK_WORDS);
    return { kind, sizePages: BLOCK_PAGES, firstBlock, nrBlocks: 1 };
  }

  /**
   * ftruncate(2): an empty file gets its size and zeros, or loses both. EINVAL: another change of
   * size, or one of the kernel's files. EBUSY: a device can reach it. ENOSPC, ENOMEM.
   */
  truncate(file: File, size: number): void {
    if (file.kind !== KIND.data) throw einval(`pkernfs: ${file.name} is the kernel's and has one block`);
    if (size === file.size) return;
    if (size < 0 || size % PAGE_SIZE !== 0) throw einval(`pkernfs: ${file.name}: ${size} bytes are no whole pages`);
    this.#checkWritable();
    if (size === 0) this.#empty(file);
    else if (file.inode.nrBlocks === 0) this.#fill(file, size);
    else throw einval(`pkernfs: ${file.name} has its size: truncate it to 0 first`);
  }

  #fill(file: File, size: number): void {
    const { blocks, inodes } = this.#mounted;
    const nrBlocks = Math.ceil(size / BLOCK_BYTES);
    const firstBlock = blocks.takeRun(nrBlocks);
    try {
      this.#extents.attach(firstBlock, nrBlocks);
    } catch (error) {
      blocks.give(firstBlock, nrBlocks);
      throw error;
    }
    const inode = { kind: file.kind, sizePages: size / PAGE_SIZE, firstBlock, nrBlocks };
    inodes.write(file.number, inode);
    file.inode = inode;
  }

  #empty(file: File): void {
    this.#checkIdle(file);
    const before = file.inode;
    const inode = { ...FREE, kind: file.kind };
    this.#mounted.inodes.write(file.number, inode);
    file.inode = inode;
    this.#letGo(before);
  }

  #letGo({ kind, firstBlock, nrBlocks }: Inode): void {
    if (nrBlocks === 0) return;
    if (kind === KIND.data) this.#extents.detach(firstBlock);
    this.#mounted.blocks.give(firstBlock, nrBlocks);
  }

  /** unlink(2). ENOENT; EBUSY: it is in use by a device; EPERM: a unit's device directory. */
  unlink(name: string): void {
    const file = this.lookup(name);
    if (file.kind === KIND.root) throw eperm(`pkernfs: ${name} is the kernel's`);
    this.#checkWritable();
    this.#checkIdle(file);
    const { directory, inodes } = this.#mounted;
    directory.remove(directory.find(name)!);
    this.#files.delete(name);
    file.gone = true;
    inodes.write(file.number, FREE);
    this.#letGo(file.inode);
  }

  /** Whether devices can reach the file, or a container has it: it cannot change then (PKF-5). */
  isFrozen({ uses, kind, inode }: File): boolean {
    return uses > 0 || (kind === KIND.data && inode.nrBlocks > 0 && this.reaches(inode.firstBlock, inode.nrBlocks));
  }

  #checkIdle(file: File): void {
    if (this.isFrozen(file)) throw ebusy(`pkernfs: ${file.name} is in use by devices`);
  }

  #checkWritable(): void {
    const [problem] = this.#mounted.damage;
    if (problem !== undefined) throw new SysError('EROFS', `pkernfs is damaged and is not changed: ${problem}`);
  }
}
