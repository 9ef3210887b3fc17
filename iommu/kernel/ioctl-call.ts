/** ioctl(2) on an open file, one or several in one request: from the argument's bytes to those that go back. */
import { einval, SysError } from '../../platform/errno.ts';
import type { Caller, FileOperations, OpenFile } from './open-file.ts';
import { UserArg } from './user-arg.ts';
import type { IoctlCall, Reply } from './wire.ts';

/** The reply carries what was written to the argument, also when the call fails. */
export function ioctl(operations: FileOperations, { nr, arg }: IoctlCall, caller: Caller): Reply | Promise<Reply> {
  const userArg = new UserArg(arg);
  const done = (ret: number): Reply => withOutput({ ret }, userArg);
  const failed = (error: unknown): Reply => withOutput(errorReply(error), userArg);
  try {
    const result = operations.ioctl(nr, userArg, caller);
    return result instanceof Promise ? result.then(done, failed) : done(result);
  } catch (error) {
    return failed(error);
  }
}

function withOutput(reply: Reply, arg: UserArg): Reply {
  const out = arg.output();
  return out ? { ...reply, out } : reply;
}

/** A caller whose new fds can be looked at. */
export interface BatchCaller extends Caller {
  takeInstalled(): OpenFile | undefined;
}

/** In order, up to the first that fails; each as if it were alone. A call that gives a fd has no place here: EINVAL. */
export function ioctls(
  operations: FileOperations,
  calls: readonly IoctlCall[],
  caller: BatchCaller,
): Reply | Promise<Reply> {
  const batch = new Batch();
  const goOn = (from: number): Reply | Promise<Reply> => {
    for (let i = from; i < calls.length; i++) {
      const reply = ioctl(operations, calls[i]!, caller);
      if (reply instanceof Promise) {
        return reply.then((answer) => (batch.take(answer, caller) ? goOn(i + 1) : batch.reply()));
      }
      if (!batch.take(reply, caller)) break;
    }
    return batch.reply();
  };
  return goOn(0);
}

class Batch {
  #done = 0;
  #failure: Reply | undefined;
  readonly #outs: (Uint8Array | null)[] = [];

  /** Whether to go on. */
  take(reply: Reply, caller: BatchCaller): boolean {
    const file = caller.takeInstalled();
    file?.put();
    this.#outs.push(reply.out ?? null);
    if (file) this.#failure = errorReply(einval('a fd cannot be given to one of several ioctls'));
    else if (reply.ret < 0) this.#failure = reply;
    else this.#done++;
    return this.#failure === undefined;
  }

  reply(): Reply {
    const { ret, message } = this.#failure ?? { ret: 0, message: undefined };
    const wrote = this.#outs.some((out) => out !== null);
    return {
      ret,
      done: this.#done,
      ...(wrote ? { outs: this.#outs } : {}),
      ...(message === undefined ? {} : { message }),
    };
  }
}

/** −errno for a SysError; anything else is a bug and is thrown on. */
export function errorReply(error: unknown): Reply {
  if (error instanceof SysError) return { ret: -error.errno, message: error.message };
  throw error;
}
