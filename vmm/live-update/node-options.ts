/** The options of node that an image starts with, and its successor too. */

import { KEEP_HASHES } from '../../platform/v8-options.ts';

const BLOB = '--snapshot-blob';

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
