/** The user that a process of a script is, for good. */
import { setDumpable } from '../../../platform/libc/this-process.ts';
import { endWithParent } from './end-with-parent.ts';

/** setuid(2). Root loses all its capabilities. */
export function becomeUser(uid: number): void {
  // glibc tells all threads
  process.setuid!(uid);
  setDumpable(); // else a forked process could not read this one's memory to copy it
  endWithParent();
}
