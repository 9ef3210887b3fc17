/**
 * ioctl(2) on an open file, one or several in one request. It leads from the argument's bytes to
 * the bytes that go back.
 */
import { eintr, einval, SysError } from '../../../platform/errno.ts';
import { othersServed, SLICE_MS } from '../../../platform/slices.ts';
import type { IoctlCall, IoctlRequest, IoctlsRequest, Reply } from '../../abi/wire.ts';
import type { Caller, FileOperations } from '../core/open-file.ts';
import { UserArg } from '../core/user-arg.ts';

/**
 * Carries out an ioctl. The reply has the bytes written to the argument, also when the call fails.
 */
export function ioctl(
  operations: FileOperations,
  { nr, arg, named = false }: IoctlCall & Pick<IoctlRequest, 'named'>,
  caller: Caller,
): Reply | Promise<Reply> {
  const userArg = new UserArg(arg);
  const withName = (reply: Reply): Reply => {
    const call = operations.ioctlNames?.get(nr);
    return call === undefined ? reply : { ...reply, call };
  };
  const done = (ret: number): Reply => (named ? withOutput(withName({ ret }), userArg) : success(ret, userArg));
  const failed = (error: unknown): Reply => withOutput(withName(errorReply(error)), userArg);
  try {
    const result = operations.ioctl(nr, userArg, caller);
    return result instanceof Promise ? result.then(done, failed) : done(result);
  } catch (error) {
    return failed(error);
  }
}

// HOT: once a call; a spread costs 1 µs
function success(ret: number, arg: UserArg): Reply {
  const out = arg.output();
  return out ? { ret, out } : { ret };
}

function withOutput(reply: Reply, arg: UserArg): Reply {
  const out = arg.output();
  return out ? { ...reply, out } : reply;
}

/** A caller that can be kept from a new fd. */
export interface LoopCaller extends Caller {
  /** Drops the file that install() left. Whether there was one. */
  dropInstalled(): boolean;
}

/**
 * One ioctl over an array of structs, up to the first that fails. Each runs as if it were alone,
 * and other callers are served in between. A call that gives a fd is EINVAL here.
 */
export function ioctls(
  operations: FileOperations,
  { nr, size, args }: Pick<IoctlsRequest, 'nr' | 'size' | 'args'>,
  caller: LoopCaller,
): Reply | Promise<Reply> {
  let done = 0;
  let wrote = false;
  let failure: Reply | undefined;
  /** Whether to go on. */
  const take = (reply: Reply): boolean => {
    const gaveFd = caller.dropInstalled();
    if (reply.out) wrote = true; // into its place in `args`
    if (gaveFd) failure = errorReply(einval('a fd cannot be given to one of several ioctls'));
    else if (reply.ret < 0) failure = reply;
    else done++;
    return failure === undefined;
  };
  const answer = (): Reply => {
    const { out: _, ...reply } = failure ?? { ret: 0 };
    return { ...reply, done, ...(wrote ? { out: args } : {}) };
  };
  const { task } = caller;
  const goOn = (from: number): Reply | Promise<Reply> => {
    if (from > 0 && task.killed.aborted) throw eintr('killed between two of several ioctls');
    const until = performance.now() + SLICE_MS;
    for (let at = from; at < args.length; at += size) {
      if (performance.now() >= until) return othersServed(task.pid).then(() => inTask(() => goOn(at)));
      const reply = ioctl(operations, { nr, arg: args.subarray(at, at + size) }, caller);
      if (reply instanceof Promise) return reply.then((late) => (take(late) ? goOn(at + size) : answer()));
      if (!take(reply)) break;
    }
    return answer();
  };
  const inTask = <T>(body: () => T): T => {
    task.enter?.();
    try {
      return body();
    } finally {
      task.leave?.();
    }
  };
  return goOn(0);
}

/** −errno for a SysError; anything else is a bug and is thrown on. */
export function errorReply(error: unknown): Reply {
  if (error instanceof SysError) return { ret: -error.errno, message: error.message };
  throw error;
}
