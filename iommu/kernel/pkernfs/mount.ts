/**
 * Finds the file system that an earlier kernel has left, or makes one, and puts right what a crash
 * can leave: an inode without a name, blocks without an inode. Nothing of that was visible before,
 * so nothing is lost. Anything else that does not fit is damage, and is told of, one line each.
 */
import { codeOf } from '../../../platform/errno.ts';
import { Blocks } from './blocks.ts';
import { Directory, type Entry } from './directory.ts';
import { FREE, type Inode, Inodes } from './inodes.ts';
import { type Geometry, KIND, NR_INODES } from './layout.ts';
import { checkSuperblock, format, isFormatted } from './superblock.ts';

export interface Mounted {
  readonly blocks: Blocks;
  readonly inodes: Inodes;
  readonly directory: Directory;
  /** The files that can be used. */
  readonly entries: readonly Entry[];
  /** Whether there was no file system before. */
  readonly fresh: boolean;
  /** Inodes and bits that a crash had left over. */
  readonly repaired: number;
  /** What is damaged, and is left as it is. */
  readonly damage: readonly string[];
}

/** EIO, EOPNOTSUPP: the superblock is damaged, or of another version. Nothing is written then. */
export function mount(words: Int32Array, geometry: Geometry): Mounted {
  const fresh = !isFormatted(words);
  if (fresh) format(words, geometry);
  else checkSuperblock(words, geometry);
  const parts = { blocks: new Blocks(words, geometry), inodes: new Inodes(words), directory: new Directory(words) };
  return { ...parts, fresh, ...check(parts, geometry) };
}

function check(
  { blocks, inodes, directory }: Pick<Mounted, 'blocks' | 'inodes' | 'directory'>,
  geometry: Geometry,
): Pick<Mounted, 'entries' | 'repaired' | 'damage'> {
  const damage: string[] = [];
  const found = readInodes(inodes, damage);
  const entries: Entry[] = [];
  const named = new Set<number>();
  for (const entry of directory.entries((problem) => damage.push(problem))) {
    const inode = found[entry.inode];
    if (named.has(entry.inode)) damage.push(`pkernfs: ${entry.name}: its inode has another name, too`);
    else if (inode === 'damaged') damage.push(`pkernfs: ${entry.name}: its inode ${entry.inode} is damaged`);
    else if (!inode || inode.kind === KIND.free)
      damage.push(`pkernfs: ${entry.name}: its inode ${entry.inode} is free`);
    else entries.push(entry);
    named.add(entry.inode);
  }
  const owners = ownersOf(found, geometry, damage);
  // What is damaged may own anything, so nothing is given back.
  if (damage.length > 0) return { entries, repaired: 0, damage };
  let repaired = 0;
  for (const [number, inode] of found.entries()) {
    if (inode === 'damaged' || inode.kind === KIND.free || named.has(number)) continue;
    inodes.write(number, FREE);
    for (let i = 0; i < inode.nrBlocks; i++) owners.delete(inode.firstBlock + i);
    repaired++;
  }
  return { entries, repaired: repaired + blocks.repair((block) => owners.has(block)), damage };
}

function readInodes(inodes: Inodes, damage: string[]): readonly (Inode | 'damaged')[] {
  return Array.from({ length: NR_INODES }, (_, number) => {
    try {
      return inodes.read(number);
    } catch (error) {
      if (codeOf(error) !== 'EIO') throw error;
      damage.push((error as Error).message);
      return 'damaged';
    }
  });
}

/** The inode of each block. */
function ownersOf(
  found: readonly (Inode | 'damaged')[],
  { nrBlocks, nrKernelBlocks }: Geometry,
  damage: string[],
): Map<number, number> {
  const owners = new Map<number, number>();
  for (const [number, inode] of found.entries()) {
    if (inode === 'damaged' || inode.nrBlocks === 0) continue;
    const [from, to] = inode.kind === KIND.data ? [nrKernelBlocks, nrBlocks] : [1, nrKernelBlocks];
    if (inode.firstBlock < from || inode.firstBlock + inode.nrBlocks > to) {
      damage.push(`pkernfs: inode ${number}: blocks ${inode.firstBlock}+${inode.nrBlocks} are not for such a file`);
      continue;
    }
    for (let i = 0; i < inode.nrBlocks; i++) {
      const block = inode.firstBlock + i;
      const other = owners.get(block);
      if (other !== undefined) damage.push(`pkernfs: block ${block} belongs to inodes ${other} and ${number}`);
      owners.set(block, number);
    }
  }
  return owners;
}
