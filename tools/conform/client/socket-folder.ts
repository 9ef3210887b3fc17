/**
 * A client's lasting way to the host's socket. It still works after the client has become another
 * user (`setuid`) and another image (`exec`): it is an open folder, kept as a fd like the script's
 * own. The folders above it may be closed to other users.
 */
import { openSync } from 'node:fs';
import { basename, dirname } from 'node:path';

import { setCloexec } from '../../../platform/libc/fd.ts';
import type { Change, State } from '../steps/state.ts';
import type { Assignment } from './protocol.ts';

/** Name of the fd in the state. No word of a script can equal it. */
const NAME = '(folder of the socket)';
/** Flag of open(2): the fd names a place and cannot be read. */
const O_PATH = 0o10000000;

/** The same assignment with a socket path that leads through a fd of this process. */
export function throughFolder(assignment: Assignment, state: State): Assignment {
  const { socketPath } = assignment;
  const folder = openSync(dirname(socketPath), O_PATH);
  setCloexec(folder, false);
  state.change({ fd: NAME, number: folder });
  return { ...assignment, socketPath: `/proc/self/fd/${folder}/${basename(socketPath)}` };
}

/** What a process of its own needs of `state` to reach the host as well, by the same fd. */
export const folderOf = (state: State): Change => ({ fd: NAME, number: state.fd(NAME) });
