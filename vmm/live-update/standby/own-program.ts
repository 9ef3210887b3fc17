/**
 * The program of this process. To be loaded early: what is on disk now is taken for what runs.
 */
import { statSync } from 'node:fs';

export const PROGRAM = process.argv[1]!;

/** What tells two files at one path apart; undefined: there is none. */
function identity(): string | undefined {
  const stats = statSync(PROGRAM, { throwIfNoEntry: false });
  return stats && [stats.dev, stats.ino, stats.size, stats.mtimeMs].join(' ');
}

const begunWith = identity();

/** Whether a process that is started from there runs the same program. */
export const isProgramOnDisk = (): boolean => begunWith !== undefined && identity() === begunWith;
