/** The options of node that an image starts with, and its successor too. */

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
