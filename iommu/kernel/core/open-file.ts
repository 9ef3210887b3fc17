/** Open files, and what a system call sees of its caller. */

import type { ControlRequest } from '../../abi/control.ts';
import { reportBug } from './bug.ts';
import type { Task } from './task.ts';
import type { UserArg } from './user-arg.ts';

/**
 * What a kind of file does. Whoever has one of these calls only through an OpenFile's references.
 */
export interface FileOperations {
  /** For lists and messages: a path, or `anon:…`. */
  readonly name: string;
  /** Names of its ioctls by number, for messages. */
  readonly ioctlNames?: ReadonlyMap<number, string>;
  /** Result of the ioctl, ≥ 0; throws its errno. May sleep: others' calls go on meanwhile. */
  ioctl(nr: number, arg: UserArg, caller: Caller): number | Promise<number>;
  /** Reads up to `length` bytes at `offset` ≥ 0. Absent: EINVAL. */
  pread?(offset: bigint, length: number): Uint8Array;
  /** Writes at `offset` ≥ 0; bytes written. Absent: EINVAL. */
  pwrite?(offset: bigint, data: Uint8Array): number;
  /** mmap(2): what the caller maps. Absent: ENODEV. */
  mmap?(request: MmapRequest, caller: Caller): MappedFile;
  /** A request on the control device; its answer. Absent: ENOTTY. */
  control?(request: ControlRequest): unknown;
  /** A fd that whoever takes this file is given with it. */
  readonly passesFd?: number;
  /**
   * The last reference is gone. What takes longer goes on after it has returned, and is told to
   * releaseGoesOn().
   */
  release(): void;
}

let told: ((rest: Promise<void>) => void) | undefined;

/** For a release() that is not over when it returns. */
export function releaseGoesOn(rest: Promise<void>): void {
  if (told) told(rest);
  else void rest.catch(reportBug); // nobody waits for it
}

/** Drops references; what of the releases is left to be done, if anything. */
export function dropped(drop: () => void): Promise<unknown> | undefined {
  const rests: Promise<void>[] = [];
  const outer = told;
  told = (rest) => rests.push(rest);
  try {
    drop();
  } finally {
    told = outer;
  }
  return rests.length > 0 ? Promise.all(rests) : undefined;
}

/**
 * Whole pages: [offset, offset + length) in bytes; exact below 2^53, where all files of this kernel
 * end.
 */
export interface MmapRequest {
  readonly offset: number;
  readonly length: number;
  /** MAP_SHARED */
  readonly shared: boolean;
}

/** A mapping that the caller is to make for itself. */
export interface MappedFile {
  /**
   * The file that is the mapping's reference, open for as long as it exists; it passes the object
   * that is mapped.
   */
  readonly operations: FileOperations;
  readonly objectOffset: number;
  /** There is nothing in the object: accesses go by pread and pwrite of `operations`. */
  readonly registers: boolean;
}

export interface ClientEventfd {
  /** A duplicate, to be closed. */
  readonly fd: number;
  /**
   * Another one, at any time; undefined when the client's fd of that number is not this eventfd any
   * more.
   */
  again(): number | undefined;
}

/** The one that calls, and its fd table as far as the kernel needs it. */
export interface Caller {
  readonly task: Task;
  /** The file the call is on. */
  readonly thisFile: OpenFile;
  /**
   * fget(): the open file behind a fd of the caller; undefined when it is open but none of this
   * kernel's. EBADF.
   */
  file(fd: number): OpenFile | undefined;
  /**
   * eventfd_ctx_fdget(): a duplicate of the caller's eventfd, to be closed. EBADF, EINVAL for
   * another kind of file.
   */
  eventfd(fd: number): number;
  /**
   * As eventfd(), for one that is watched and not signalled: nothing may keep its file for long.
   */
  eventfdToWatch(fd: number): ClientEventfd;
  /**
   * Gives the caller a new fd for `operations` with the call's return; released if it never takes
   * it. Once per call.
   */
  install(operations: FileOperations): void;
}

/**
 * An open file description: referenced by the caller's fds (as one), by calls under way, and by
 * other files.
 */
export class OpenFile {
  readonly operations: FileOperations;
  #references = 1;

  constructor(operations: FileOperations) {
    this.operations = operations;
  }

  get(): this {
    this.#references++;
    return this;
  }

  put(): void {
    if (--this.#references === 0) this.operations.release();
  }
}
