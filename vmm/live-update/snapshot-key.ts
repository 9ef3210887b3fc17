/** Which snapshots are the same: those that one build makes, in one place, under one node. */
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';

import { snapshotProgram } from '../../platform/code-cache.ts';
import { koffiAddon } from '../../platform/libc/koffi.ts';
import { nodeEnv } from '../../platform/node-env.ts';
import { nodeOptions } from './node-options.ts';

/** The program that makes a snapshot, and the bundle that the snapshot holds. */
export const BUILDER = 'vmm-build-snapshot.cjs';
const BUNDLE = 'vmm-snapshot.cjs';

/**
 * A hash of all that a snapshot depends on, in hexadecimal digits:
 *
 * - The builder, its program, what is compiled of that, and their folder. A snapshot remembers the
 *   paths of the thread entries beside it, and of koffi.
 * - The node binary, by device, inode, size, mtime and ctime. Its content is 100 MB. Whoever
 *   changes it changes its ctime, which no system call sets. A script that stands in for node may
 *   run another node tomorrow. That node refuses the snapshot, and a new one is made.
 * - node's options, and its variables in the environment.
 *
 * ENOENT and other errors of reading: there is no such build, or no such node.
 */
export function snapshotKey(node: string, entry: string): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = statSync(node, { bigint: true });
  const folder = resolve(dirname(entry));
  const facts = {
    node: [dev, ino, size, mtimeNs, ctimeNs].map(String),
    options: nodeOptions(),
    env: Object.entries(nodeEnv()).filter(([name]) => name.startsWith('NODE_')),
    folder,
    addon: addonOf(entry),
  };
  const hash = createHash('sha256').update(JSON.stringify(facts));
  const program = snapshotProgram(join(folder, BUNDLE));
  for (const part of [readFileSync(join(folder, BUILDER)), program.code, program.kept() ?? '']) {
    hash.update('\0').update(part);
  }
  return hash.digest('hex');
}

/** Where koffi's native half lies for the build of `entry`; null where it has none. */
function addonOf(entry: string): string | null {
  try {
    return createRequire(resolve(entry)).resolve(koffiAddon.name);
  } catch {
    return null;
  }
}
