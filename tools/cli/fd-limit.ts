/** The check that a process may open enough file descriptors. */
import { readFileSync } from 'node:fs';

import { CommandError } from './command.ts';

/**
 * A host with four devices has some 50 fds of its own. Three eighths of the fds are for
 * connections, and one client may have half of these.
 */
const NEEDED_FDS = 128;

/**
 * The hard limit; Node has raised the soft limit to it. prlimit(2) is not used, because loading the
 * foreign functions takes longer.
 */
const fdLimit = (): number => {
  const match = /^Max open files +\S+ +(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'));
  return match ? Number(match[1]) : Number.POSITIVE_INFINITY;
};

/**
 * CommandError when there are too few fds. Without this check, threads and processes that cannot
 * start would only say EMFILE, each in its own words.
 */
export function checkFdLimit(): void {
  const limit = fdLimit();
  if (limit >= NEEDED_FDS) return;
  throw new CommandError(`a process may have ${limit} open files (ulimit -n) and needs at least ${NEEDED_FDS}`);
}
