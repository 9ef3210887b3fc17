/**
 * The successor's program as a snapshot (snapshot.ts, build-snapshot.ts). The new image's node
 * makes it while the guest still runs, and the preflight tries it. Without a snapshot, a third of
 * the pause is loading and compiling.
 */
import { dirname, join } from 'node:path';

import { close } from '../../platform/libc/fd.ts';
import {
  addSeals,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
  memfdCreate,
} from '../../platform/libc/memfd.ts';
import { runSuccessor } from './successor-run.ts';

const BUILDER = 'vmm-build-snapshot.cjs';
const BLOB = '--snapshot-blob';
/**
 * V8 keeps the snapshot's hash seed. Otherwise it would hash everything in the snapshot again with
 * a random seed: 8 ms of 31 (node 20.20). A random seed protects servers from strings that
 * strangers choose to collide; a VMM's strings come only from its own user. A node without this
 * option refuses it.
 */
const KEEP_HASHES = '--no-rehash-snapshot';

/** The options that make node start from the snapshot in `fd`. */
export const fromSnapshot = (fd: number): string[] => [KEEP_HASHES, BLOB, `/proc/self/fd/${fd}`];

/**
 * This process' own node options, without the options of the snapshot that it may have started
 * from.
 */
export function nodeOptions(): string[] {
  const at = process.execArgv.indexOf(KEEP_HASHES);
  return at < 0 ? process.execArgv : process.execArgv.toSpliced(at, fromSnapshot(0).length);
}

/**
 * Lets `node` make a snapshot of the VMM whose file is `entry`. Returns a sealed memfd,
 * close-on-exec; undefined if node cannot make one: an older version, no node at all, no time. The
 * update is then only slower. The preflight finds out whether the node accepts its snapshot. It
 * must, because an image that starts from a snapshot that it rejects ends at once, and then there
 * is no way back.
 */
export async function prepareSnapshot(node: string, entry: string, signal?: AbortSignal): Promise<number | undefined> {
  const fd = memfdCreate('livevmm-snapshot', MFD_CLOEXEC | MFD_ALLOW_SEALING);
  const words = [...nodeOptions(), ...fromSnapshot(3), '--build-snapshot', join(dirname(entry), BUILDER)];
  const { succeeded } = await runSuccessor(node, words, ['ignore', 'ignore', 'ignore', fd], signal);
  if (succeeded && seal(fd)) return fd;
  close(fd);
  return undefined;
}

/** Returns false if another process may still change the snapshot. */
function seal(fd: number): boolean {
  try {
    addSeals(fd, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    return true;
  } catch {
    return false; // a writable mapping: EBUSY
  }
}
