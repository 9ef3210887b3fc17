/** From the number of a trapped call to its steps. */

import { O_CLOEXEC } from '../../../platform/libc/fd.ts';
import type { Architecture, CallName } from '../filter/call-numbers.ts';
import { openNode } from './files.ts';
import { type IoctlOptions, ioctl } from './ioctl-call.ts';
import {
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  access,
  isNode,
  mustBeNode,
  noXattr,
  openInTree,
  ourPath,
  readlink,
  stat,
  statx,
  type Tree,
} from './path-calls.ts';
import { mmap, pread, pwrite, readvRegion, writevRegion } from './region-calls.ts';
import { type Call, type Carried, intArg, type Steps } from './steps.ts';
import type { Carry } from './supervisor.ts';
import type { ProgramThreads } from './threads.ts';

type Handler = (call: Call, threads: ProgramThreads) => Carried;

export interface CallOptions extends IoctlOptions {
  readonly tree: Tree;
}

export function carryOut(architecture: Architecture, options: CallOptions): Carry {
  const handlers = new Map<number, Handler>();
  for (const [name, handler] of Object.entries(handlersOf(options)) as [CallName, Handler][]) {
    const nr = architecture.numbers[name];
    if (nr !== undefined) handlers.set(nr, handler);
  }
  return (nr, call, threads) => handlers.get(nr)?.(call, threads) ?? 'go on';
}

function handlersOf({ socketPath, tree, mapRegisters }: CallOptions): Partial<Record<CallName, Handler>> {
  /** Steps for a path of ours. */
  const on =
    (
      dirfd: (call: Call) => number,
      pathArg: number,
      steps: (path: string, call: Call, threads: ProgramThreads) => Carried,
    ): Handler =>
    (call, threads) => {
      const path = ourPath(tree, call, dirfd(call), call.args[pathArg]!);
      if (path === undefined) return 'go on';
      if (call.notes) call.notes.path = path;
      return steps(path, call, threads);
    };
  const here = (): number => AT_FDCWD;
  const there = (call: Call): number => intArg(call, 0);
  const opening =
    (flagsOf: (call: Call) => number) =>
    (path: string, call: Call, threads: ProgramThreads): Carried => {
      const flags = flagsOf(call);
      return isNode(path) ? open(path, flags, () => threads.enter(call.tid).pid) : openInTree(tree, path, flags);
    };
  function* open(path: string, flags: number, pid: () => number): Steps {
    mustBeNode(tree, path);
    return yield* openNode(socketPath, path, pid(), (flags & O_CLOEXEC) !== 0);
  }
  const exec = (call: Call, threads: ProgramThreads): Carried => execve(call, threads);
  return {
    open: on(
      here,
      0,
      opening((call) => intArg(call, 1)),
    ),
    openat: on(
      there,
      1,
      opening((call) => intArg(call, 2)),
    ),
    openat2: on(there, 1, opening(flagsOfHow)),
    stat: on(here, 0, (path, call) => stat(tree, call, path, { vaddr: call.args[1]!, flags: 0 })),
    lstat: on(here, 0, (path, call) => stat(tree, call, path, { vaddr: call.args[1]!, flags: AT_SYMLINK_NOFOLLOW })),
    newfstatat: on(there, 1, (path, call) => stat(tree, call, path, { vaddr: call.args[2]!, flags: intArg(call, 3) })),
    statx: on(there, 1, (path, call) => statx(tree, call, path)),
    access: on(here, 0, (path, call) => access(tree, path, intArg(call, 1))),
    faccessat: on(there, 1, (path, call) => access(tree, path, intArg(call, 2))),
    faccessat2: on(there, 1, (path, call) => access(tree, path, intArg(call, 2))),
    readlink: on(here, 0, (path, call) => readlink(tree, call, path, { vaddr: call.args[1]!, size: intArg(call, 2) })),
    readlinkat: on(there, 1, (path, call) =>
      readlink(tree, call, path, { vaddr: call.args[2]!, size: intArg(call, 3) }),
    ),
    getxattr: on(here, 0, (path) => noXattr(tree, path)),
    lgetxattr: on(here, 0, (path) => noXattr(tree, path)),
    listxattr: on(here, 0, (path) => noXattr(tree, path)),
    llistxattr: on(here, 0, (path) => noXattr(tree, path)),
    ioctl: (call, threads) => ioctl({ socketPath, mapRegisters }, call, () => threads.enter(call.tid).pid),
    pread64: pread,
    pwrite64: pwrite,
    preadv: (call) => readvRegion(call, false),
    preadv2: (call) => readvRegion(call, true),
    pwritev: (call) => writevRegion(call, false),
    pwritev2: (call) => writevRegion(call, true),
    mmap: (call) => mmap(call, mapRegisters),
    execve: exec,
    execveat: exec,
  };
}

/** The flags of openat2(2)'s struct open_how. */
function flagsOfHow({ memory, args }: Call): number {
  const how = memory.read(args[2]!, 8);
  return how.length === 8 ? new DataView(how.buffer).getUint32(0, true) : 0;
}

/**
 * execve(2) goes on. If the process has entered the kernel before, the kernel is told which thread
 * will be the process (ACC-7), and the channels of this image end.
 */
function execve({ tid }: Call, threads: ProgramThreads): Carried {
  if (threads.size === 0) return 'go on';
  const pid = threads.processWith(tid);
  if (pid === undefined) return 'go on';
  threads.execs(pid);
  return tid === pid ? 'go on' : telling();
}

function* telling(): Steps {
  yield { op: 'exec' };
  return 'go on';
}
