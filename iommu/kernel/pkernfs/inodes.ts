/**
 * The inodes. Each has two versions of itself, and a change writes the one that is not in force: it
 * becomes the one in force by its checksum.
 */
import { eio, enospc } from '../../../platform/errno.ts';
import { INODES_AT, InodeSlot, KIND, type Kind, NR_INODES, SLOT_WORDS } from './layout.ts';
import { publishRecord, recordState } from './record.ts';

const { word } = InodeSlot;

export interface Inode {
  readonly kind: Kind;
  readonly sizePages: number;
  /** A run of blocks; none where nrBlocks is 0. */
  readonly firstBlock: number;
  readonly nrBlocks: number;
}

export const FREE: Inode = { kind: KIND.free, sizePages: 0, firstBlock: 0, nrBlocks: 0 };

export class Inodes {
  readonly #words: Int32Array;

  constructor(words: Int32Array) {
    this.#words = words;
  }

  /** EIO: the inode is damaged; the message says how. */
  read(inode: number): Inode {
    const at = this.#inForce(inode);
    if (at === undefined) return FREE;
    const get = (field: number): number => this.#words[at + field]! >>> 0;
    const kind = get(word.kind);
    if (kind > KIND.container) throw eio(`pkernfs: inode ${inode} is damaged: kind ${kind}`);
    return {
      kind: kind as Kind,
      sizePages: get(word.sizePages),
      firstBlock: get(word.firstBlock),
      nrBlocks: get(word.nrBlocks),
    };
  }

  write(inode: number, { kind, sizePages, firstBlock, nrBlocks }: Inode): void {
    const inForce = this.#inForce(inode);
    const sequence = inForce === undefined ? 1 : (this.#words[inForce + word.sequence]! + 1) | 0;
    const [first, second] = slotsOf(inode);
    publishRecord(this.#words, inForce === first ? second : first, [sequence, kind, sizePages, firstBlock, nrBlocks]);
  }

  /** A free inode. ENOSPC. */
  findFree(): number {
    for (let inode = 0; inode < NR_INODES; inode++) if (this.#isFree(inode)) return inode;
    throw enospc(`pkernfs: all ${NR_INODES} inodes are in use`);
  }

  #isFree(inode: number): boolean {
    try {
      return this.read(inode).kind === KIND.free;
    } catch {
      return false; // a damaged one, which mount has told of
    }
  }

  /** The place of the version in force; undefined before the first one. EIO: damaged. */
  #inForce(inode: number): number | undefined {
    let found: number | undefined;
    for (const at of slotsOf(inode)) {
      const state = recordState(this.#words, at, word.checksum);
      if (state === 'damaged') throw eio(`pkernfs: inode ${inode} is damaged: a checksum does not match`);
      if (state === 'none') continue;
      // numbers that follow one another, also over the end of 32 bits
      if (found === undefined || ((this.#words[at]! - this.#words[found]!) | 0) > 0) found = at;
    }
    return found;
  }
}

const slotsOf = (inode: number): readonly [number, number] => {
  const at = INODES_AT + inode * 2 * SLOT_WORDS;
  return [at, at + SLOT_WORDS];
};
