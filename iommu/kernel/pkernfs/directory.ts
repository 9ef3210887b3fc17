/** The directory: names of inodes. An entry is there from the store of its checksum on. */
import { einval, eio, enametoolong, enospc } from '../../../platform/errno.ts';
import { DIRECTORY_AT, Dirent, KIND, type Kind, NAME_BYTES, NR_INODES } from './layout.ts';
import { publishRecord, recordState, withdrawRecord } from './record.ts';

const WORDS = Dirent.size / 4;
const { word } = Dirent;

export interface Entry {
  /** The place in the directory. */
  readonly slot: number;
  readonly name: string;
  readonly inode: number;
}

/** The folder of a name says what kind of file it is. */
export const FOLDERS: Readonly<Record<string, Kind>> = { iommu: KIND.domain, vfio: KIND.container };

/** The kind of file that a name is for. EINVAL: no name; ENAMETOOLONG. */
export function kindOf(name: string): Kind {
  const [, folder, rest = ''] = /^(?:([\w.-]+)\/)?([\w.-]+)$/.exec(name) ?? [];
  if (rest === '' || rest === '.' || rest === '..') throw einval(`pkernfs: '${name}' is no name of a file`);
  if (name.length >= NAME_BYTES) throw enametoolong(`pkernfs: a name has at most ${NAME_BYTES - 1} bytes`);
  const kind = folder === undefined ? KIND.data : FOLDERS[folder];
  if (kind === undefined)
    throw einval(`pkernfs: there is no folder ${folder}, only ${Object.keys(FOLDERS).join(', ')}`);
  return kind;
}

export class Directory {
  readonly #words: Int32Array;

  constructor(words: Int32Array) {
    this.#words = words;
  }

  /** All entries. `damaged` is told of each that cannot be read. */
  *entries(damaged: (problem: string) => void = () => {}): Generator<Entry, void> {
    for (let slot = 0; slot < NR_INODES; slot++) {
      try {
        const entry = this.#read(slot);
        if (entry) yield entry;
      } catch (error) {
        damaged((error as Error).message);
      }
    }
  }

  find(name: string): Entry | undefined {
    for (const entry of this.entries()) if (entry.name === name) return entry;
    return undefined;
  }

  /** ENOSPC: no room. */
  add(name: string, inode: number): void {
    const slot = this.#findFree();
    const bytes = Buffer.alloc(NAME_BYTES);
    bytes.write(name, 'latin1');
    const nameWords = Array.from({ length: NAME_BYTES / 4 }, (_, i) => bytes.readInt32LE(4 * i));
    publishRecord(this.#words, at(slot), [inode, ...nameWords]);
  }

  remove({ slot }: Entry): void {
    withdrawRecord(this.#words, at(slot), word.checksum);
  }

  #findFree(): number {
    for (let slot = 0; slot < NR_INODES; slot++) {
      if (recordState(this.#words, at(slot), word.checksum) === 'none') return slot;
    }
    throw enospc('pkernfs: the directory is full');
  }

  /** EIO: damaged. */
  #read(slot: number): Entry | undefined {
    const state = recordState(this.#words, at(slot), word.checksum);
    if (state === 'none') return undefined;
    if (state === 'damaged')
      throw eio(`pkernfs: entry ${slot} of the directory is damaged: its checksum does not match`);
    const inode = this.#words[at(slot)]!;
    const start = at(slot) + word.name;
    const name = Buffer.from(this.#words.slice(start, start + NAME_BYTES / 4).buffer).toString('latin1');
    return { slot, inode, name: name.replace(/\0.*$/s, '') };
  }
}

const at = (slot: number): number => DIRECTORY_AT + slot * WORDS;
