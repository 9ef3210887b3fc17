/** The kernel that comes next: of this version, or of another built one. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { builtUrl } from '../../platform/entry.ts';
import { codeOf, enoent, enoexec } from '../../platform/errno.ts';

export interface NextKernel {
  /** Folder of another built version; undefined: this one. */
  readonly build: string | undefined;
  /** Whether it can find what is in the memory that outlives kernels (PKF-1). */
  readonly knowsPkernfs: boolean;
}

/** The messages between board and kernel, and the layout of the words that they share. */
const BOARD = 2;

/** ENOENT: there is no kernel in the folder; ENOEXEC: one that cannot run on this board. */
export function nextKernel(build: string | undefined): NextKernel {
  if (build === undefined) return { build, knowsPkernfs: true };
  const worker = fileURLToPath(builtUrl('iommu/kernel/worker', build));
  if (!existsSync(worker)) throw enoent(`${build}: there is no kernel of a built version`);
  const { board, pkernfs } = factsOf(build);
  if (board !== BOARD) throw enoexec(`${build}: its kernel cannot run on the board of this version`);
  return { build, knowsPkernfs: pkernfs === 1 };
}

/** What a build says of itself (tools/build.mjs); nothing, if it is from before kexec. */
function factsOf(build: string): { readonly board?: unknown; readonly pkernfs?: unknown } {
  try {
    return JSON.parse(readFileSync(join(build, 'build.json'), 'utf8')) as object;
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' && !(error instanceof SyntaxError)) throw error;
    return {};
  }
}
