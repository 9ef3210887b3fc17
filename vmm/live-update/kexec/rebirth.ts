/**
 * After the end of the host's kernel the VMM begins anew, while the next one does. Nothing of it is
 * left but its terminal, its lifeline and its command line: the process executes itself only
 * because it has those. All that it knew is in pkernfs.
 */
import { basename, join } from 'node:path';

import { setCloexec } from '../../../platform/libc/fd.ts';
import { execve } from '../../../platform/libc/this-process.ts';
import type { VmOptions } from '../../vm/vm-state.ts';
import { nodeOptions } from '../node-options.ts';
import type { KexecTimes } from './restore-option.ts';
import { restoreArgs } from './restore-option.ts';

/** Throws the errno of the execve. `to`: folder of another built version. */
export function beBornAgain(options: VmOptions, times: KexecTimes, to: string | undefined): never {
  const self = process.argv[1]!;
  const entry = to === undefined ? self : join(to, basename(self));
  const kept = [0, 1, 2, ...(options.lifeline === undefined ? [] : [options.lifeline])];
  for (const fd of kept) setCloexec(fd, false);
  return execve(
    process.execPath,
    [process.execPath, ...nodeOptions(), entry, ...restoreArgs(options, times)],
    process.env,
  );
}
