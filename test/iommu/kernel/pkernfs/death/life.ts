/** What dies: a kernel that mounts a pkernfs and changes it. It is bundled for that. */
import type { Geometry } from '../../../../../iommu/kernel/pkernfs/layout.ts';
import { type Extents, Pkernfs } from '../../../../../iommu/kernel/pkernfs/pkernfs.ts';

export type Change =
  | { readonly op: 'create' | 'unlink'; readonly name: string }
  | { readonly op: 'truncate'; readonly name: string; readonly size: number };

export interface Listed {
  readonly name: string;
  readonly kind: number;
  readonly size: number;
}

export interface Found {
  readonly files: readonly Listed[];
  readonly damage: readonly string[];
  readonly free: number;
}

/** Mounts and makes each change; `done` is told of each that is made or refused. */
export function live(
  memory: SharedArrayBuffer,
  geometry: Geometry,
  extents: Extents,
  changes: readonly Change[],
  done: (refused: string | undefined) => void,
): Found {
  const fs = new Pkernfs({ words: new Int32Array(memory), geometry, extents });
  for (const change of changes) done(carryOut(fs, change));
  const files = [...fs.files()].map(({ name, kind, size }) => ({ name, kind, size }));
  return { files, damage: fs.state.damage, free: fs.nrFreeBlocks };
}

function carryOut(fs: Pkernfs, change: Change): string | undefined {
  try {
    if (change.op === 'create') fs.create(change.name);
    else if (change.op === 'unlink') fs.unlink(change.name);
    else if (change.op === 'truncate') fs.truncate(fs.lookup(change.name), change.size);
    return undefined;
  } catch (error) {
    const { code } = error as { readonly code?: string };
    if (code === undefined) throw error;
    return code;
  }
}
