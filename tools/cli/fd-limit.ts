/** How many file descriptors a process of ours needs at least. */
import { readFileSync } from 'node:fs';

import { CommandError } from './command.ts';

/**
 * A host with four devices has some 50 of its own, three eighths are for connections, and a client
 * may have half of these.
 */
const NEEDED_FDS = 128;

/**
 * The hard limit, to which Node has raised the soft one. Not by prlimit(2): loading the foreign
 * functions for it takes longer.
 */
const fdLimit = (): number => {
  const match = /^Max open files +\S+ +(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'));
  return match ? Number(match[1]) : Number.POSITIVE_INFINITY;
};

/**
 * CommandError where there are too few: threads and processes that cannot start would only say
 * EMFILE, each in its own words.
 */
export function checkFdLimit(): void {
  const limit = fdLimit();
  if (limit >= NEEDED_FDS) return;
  throw new CommandError(`a process may have ${limit} open files (ulimit -n) and needs at least ${NEEDED_FDS}`);
}
