/**
 * The snapshot that a VMM starts from (vmm/program/start-snapshot.ts). The build makes it, for the
 * node that builds. Node ends at once when it refuses a snapshot, so its key is compared before
 * (here, and in launcher.sh). The key is three lines: the folder of the build and the path of
 * koffi's native half, because a snapshot contains paths; and what `stat -c '%d %i %s %Y %Z'` tells
 * of the files that it was made from. Whoever changes a file changes its ctime. Koffi has to be
 * there and may change: a VMM loads what it finds, and whoever makes a hard link to a package's
 * files changes their ctime, too.
 */
import { accessSync, constants, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

import { koffiAddon } from '../../platform/libc/koffi.ts';
import { KEEP_HASHES } from '../../platform/v8-options.ts';
import { programPath } from './programs.ts';

const folder = dirname(programPath('vmm'));
/** The program in the snapshot. */
export const START_PROGRAM = 'vmm-start.cjs';
export const START_BLOB = `${folder}/vmm-start.blob`;
const NS_PER_S = 10n ** 9n;
const KEY = `${folder}/vmm-start.key`;

/** ENOENT: a file that it depends on is not there. */
function startKey(): string {
  const addon = koffiAddon.path ?? '';
  accessSync(addon, constants.R_OK);
  const stats = [process.execPath, `${folder}/${START_PROGRAM}`, START_BLOB].flatMap((path) => {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return [dev, ino, size, mtimeNs / NS_PER_S, ctimeNs / NS_PER_S];
  });
  return `${folder}\n${addon}\n${stats.join(' ')}\n`;
}

/** Whether there is one, for this node and of this build. */
export function hasStartSnapshot(): boolean {
  try {
    return readFileSync(KEY, 'utf8') === startKey();
  } catch {
    return false; // ENOENT
  }
}

/**
 * Node's options for a VMM: that it starts from the snapshot, if it can. Node takes one only under
 * the options of V8 that it was made under.
 */
export const startOptions = (): string[] =>
  !process.env.NODE_OPTIONS && hasStartSnapshot() ? [KEEP_HASHES, '--snapshot-blob', START_BLOB] : [];

/** Writes the key of a snapshot that has just been made. */
export function writeStartKey(): void {
  writeFileSync(`${KEY}.new`, startKey());
  renameSync(`${KEY}.new`, KEY);
}
