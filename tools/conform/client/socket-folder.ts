/**
 * The way to the host's socket that a client keeps when it becomes somebody else (`setuid`) and
 * then another image (`exec`): an open folder, as a fd like the script's own. The folders above it
 * may be closed to others.
 */
import { openSync } from 'node:fs';
import { basename, dirname } from 'node:path';

import { setCloexec } from '../../../platform/libc.ts';
import type { State } from '../steps/state.ts';
import type { Assignment } from './protocol.ts';

/** No word of a script. */
const NAME = '(folder of the socket)';
/** open(2): a place, not a file to be read. */
const O_PATH = 0o10000000;

/** The same assignment with a path that leads through a fd of this process. */
export function throughFolder(assignment: Assignment, state: State): Assignment {
  const { socketPath } = assignment;
  const folder = openSync(dirname(socketPath), O_PATH);
  setCloexec(folder, false);
  state.change({ fd: NAME, number: folder });
  return { ...assignment, socketPath: `/proc/self/fd/${folder}/${basename(socketPath)}` };
}
