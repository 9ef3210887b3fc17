/**
 * The memory that outlives this kernel, as the other parts of the kernel see it: pkernfs is mounted
 * there, its users' files are places for pins, its other files are blocks for page tables.
 */
import { codeOf, enodev } from '../../platform/errno.ts';
import { createHash } from '../../platform/hash.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { fdObjectKey, vmaObjectKey } from '../../platform/process.ts';
import type { Vma } from '../../platform/vma.ts';
import type { PhysicalMemory } from '../bus/physical.ts';
import type { RamRange } from '../bus/range.ts';
import type { BoardClient } from './board/board-client.ts';
import type { KernelWorkerData } from './board/protocol.ts';
import type { Backing, PlacedObject } from './mm/pin-objects.ts';
import { BLOCK_BYTES, BLOCK_PAGES, BLOCK_WORDS, KIND } from './pkernfs/layout.ts';
import type { PkernfsMount } from './pkernfs/open-files.ts';
import { type Extents, type File, Pkernfs } from './pkernfs/pkernfs.ts';

export class ReservedMemory implements PkernfsMount {
  readonly fs: Pkernfs;
  readonly #startPfn: number;
  readonly #physical: PhysicalMemory;
  /** Users' files with a size, by their objects. */
  readonly #byObject = new Map<string, { readonly file: File; readonly startPfn: number }>();

  /** EIO, EOPNOTSUPP: there is a pkernfs, and this kernel cannot use it. */
  constructor(
    reserved: NonNullable<KernelWorkerData['reserved']>,
    physical: PhysicalMemory,
    board: BoardClient,
    ranges: KernelWorkerData['physical'],
  ) {
    const { start, size, kernelSize } = reserved;
    this.#startPfn = start / PAGE_SIZE;
    this.#physical = physical;
    const attached = ranges
      .filter((range) => range.start >= start + kernelSize && range.start < start + size)
      .map((range) => (range.start - start) / BLOCK_BYTES);
    const extents: Extents = {
      attached: () => attached,
      attach: (first, count) => board.attachReserved(this.pfnOf(first), count * BLOCK_PAGES),
      detach: (first) => {
        this.#byObject.delete(fdObjectKey(this.objectOf(first)));
        board.detach(this.pfnOf(first));
      },
    };
    const { words } = physical.find(this.#startPfn)!;
    const geometry = { nrBlocks: size / BLOCK_BYTES, nrKernelBlocks: kernelSize / BLOCK_BYTES };
    this.fs = new Pkernfs({ words, geometry, extents });
  }

  /** First page of a block. */
  pfnOf(block: number): number {
    return this.#startPfn + block * BLOCK_PAGES;
  }

  /** The words of a block of the kernel's. */
  wordsOf(block: number): Int32Array {
    return this.fs.words.subarray(block * BLOCK_WORDS, (block + 1) * BLOCK_WORDS);
  }

  objectOf(firstBlock: number): number {
    const range = this.#physical.find(this.pfnOf(firstBlock))?.range as RamRange | undefined;
    if (range?.fd === undefined) throw enodev(`pkernfs: block ${firstBlock} is no memory`);
    return range.fd;
  }

  /** Pins: the file that a mapping shows, with one more use of it. */
  find(vma: Vma): PlacedObject | undefined {
    if (!vma.shared) return undefined;
    const key = vmaObjectKey(vma);
    const found = this.#byObject.get(key) ?? this.#look(key);
    if (!found) return undefined;
    return { backing: this.#hold(found.file), nrPages: found.file.inode.sizePages };
  }

  /** Pins: the file that has these pages, with one more use of it. */
  findPages(pfn: number, nrPages: number): Backing | undefined {
    for (const file of this.fs.files()) {
      const first = this.pfnOf(file.inode.firstBlock);
      if (file.kind !== KIND.data || pfn < first || pfn + nrPages > first + file.inode.sizePages) continue;
      return this.#hold(file);
    }
    return undefined;
  }

  #hold(file: File): Backing {
    const startPfn = this.pfnOf(file.inode.firstBlock);
    file.uses++;
    return { startPfn, persistent: true, get: () => void file.uses++, put: () => void file.uses-- };
  }

  /** Files get their objects at other times than the kernel looks for them. */
  #look(key: string): { readonly file: File; readonly startPfn: number } | undefined {
    for (const file of this.fs.files()) {
      if (file.kind !== KIND.data || file.inode.nrBlocks === 0) continue;
      const { firstBlock } = file.inode;
      const known = { file, startPfn: this.pfnOf(firstBlock) };
      this.#byObject.set(fdObjectKey(this.objectOf(firstBlock)), known);
    }
    return this.#byObject.get(key);
  }

  /** The block of a unit's device directory, which is made when the unit is first seen. */
  directoryPfn(unit: number): number {
    const name = unit === 0 ? 'iommu/root-pgtables' : `iommu/root-pgtables-${unit}`;
    return this.pfnOf(this.#find(name).inode.firstBlock);
  }

  #find(name: string): File {
    try {
      return this.fs.lookup(name);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
      return this.fs.create(name, KIND.root);
    }
  }

  /** SHA-256 of all page tables, in the order of their files' names; null: there are none. */
  tablesHash(): string | null {
    const files = [...this.fs.files()].filter(({ kind }) => kind === KIND.domain);
    if (files.length === 0) return null;
    const hash = createHash('sha256');
    for (const { inode } of files.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const first = inode.firstBlock * BLOCK_WORDS;
      hash.update(new Uint8Array(this.fs.words.slice(first, first + BLOCK_WORDS).buffer));
    }
    return hash.digest('hex');
  }

  /** The blocks of the files for page tables. */
  get domainPfns(): number[] {
    return [...this.fs.files()]
      .filter(({ kind }) => kind === KIND.domain)
      .map(({ inode }) => this.pfnOf(inode.firstBlock));
  }
}
