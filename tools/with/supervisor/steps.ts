/**
 * How a trapped call is carried out. A call is a generator: it yields a request to the emulated
 * kernel wherever it needs one, is resumed with the reply, and returns the answer. So a call that
 * sleeps in the kernel holds up its own thread only. A SysError that it throws is the call's errno.
 */
import type { Reply, Request } from '../../../iommu/abi/wire.ts';
import type { Notes } from '../trace/notes.ts';

/** A new fd of the program for the open file behind `fd`, which is closed here then. */
export interface GivenFd {
  readonly fd: number;
  readonly cloexec: boolean;
}

/** What the call returns (≥ 0), or a fd, or: Linux itself makes the call. */
export type Answer = number | GivenFd | 'go on';

export type Steps = Generator<Request, Answer, Reply>;

/** The steps of a call, or its answer, where it needs no kernel. */
export type Carried = Steps | Answer;

export const hasSteps = (carried: Carried): carried is Steps => typeof carried === 'object' && 'next' in carried;

/** The caller's memory. A range that is not there in whole is EFAULT, or is read in part. */
export interface CallerMemory {
  /** The bytes from `vaddr` to the first that cannot be read, at most `length`. */
  read(vaddr: bigint, length: number): Uint8Array;
  /** EFAULT unless all bytes could be written. */
  write(vaddr: bigint, bytes: Uint8Array): void;
}

/** A trapped call as its steps see it. */
export interface Call {
  readonly tid: number;
  readonly args: readonly bigint[];
  readonly memory: CallerMemory;
  /** Gets what is told of the call; absent when nothing is. */
  readonly notes?: Notes;
}

/** An int argument. */
export const intArg = (call: Call, n: number): number => Number(BigInt.asIntN(32, call.args[n]!));
