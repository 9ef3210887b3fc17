/** Open files, and what a system call sees of its caller. */

import type { PageArena } from '../../../platform/page-arena.ts';
import type { ControlRequest } from '../../abi/control.ts';
import type { PkernfsEntry } from '../../abi/wire.ts';
import { reportBug } from './bug.ts';
import type { Task } from './task.ts';
import type { UserArg } from './user-arg.ts';

/** The operations of a kind of file. They are called only through an OpenFile's references. */
export interface FileOperations {
  /** The file's name in lists and messages: a path, or `anon:…`. */
  readonly name: string;
  /** Names of its ioctls by number, for messages. */
  readonly ioctlNames?: ReadonlyMap<number, string>;
  /**
   * Result of the ioctl, ≥ 0; throws its errno. It may sleep; other callers' calls go on meanwhile.
   */
  ioctl(nr: number, arg: UserArg, caller: Caller): number | Promise<number>;
  /** Reads up to `length` bytes at `offset` ≥ 0. Absent: EINVAL. */
  pread?(offset: bigint, length: number): Uint8Array;
  /** Writes at `offset` ≥ 0. Returns the bytes written. Absent: EINVAL. */
  pwrite?(offset: bigint, data: Uint8Array): number;
  /** mmap(2). Returns the mapping for the caller to make. Absent: ENODEV. */
  mmap?(request: MmapRequest, caller: Caller): MappedFile;
  /** ftruncate(2). Absent: EINVAL. */
  ftruncate?(length: number): void;
  /** unlinkat(2) of a name in this directory. Absent: ENOTDIR; so is getdents. */
  unlinkat?(name: string): void;
  getdents?(): readonly PkernfsEntry[];
  /**
   * Makes a page by which the caller reaches the file's registers (wire.ts: RegistersRequest);
   * `pass` gets its object. Returns the function that takes the page away. Absent: ENODEV.
   */
  registerPage?(arena: PageArena, pass: (fd: number) => void): () => void;
  /**
   * Makes a page in which the file's MSIs are posted (wire.ts: InterruptsRequest), as registerPage.
   */
  interruptPage?(arena: PageArena, pass: (fd: number) => void): () => void;
  /** Answers a request on the control device. Absent: ENOTTY. */
  control?(request: ControlRequest): unknown;
  /** A fd that a client gets together with this file. */
  readonly passesFd?: number;
  /** The fd of a memory object that can stand for the file (iommu/abi/device-object.ts). */
  readonly object?: number;
  /**
   * Called when the last reference is gone. Work that takes longer goes on after this has returned,
   * and is told to releaseGoesOn().
   */
  release(): void;
}

let told: ((rest: Promise<void>) => void) | undefined;

/** A release() calls this with the work that is not over when it returns. */
export function releaseGoesOn(rest: Promise<void>): void {
  if (told) told(rest);
  else void rest.catch(reportBug); // nobody waits for it
}

/** Drops references. Returns a promise for the releases that go on, if there are any. */
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
 * A request for whole pages: [offset, offset + length) in bytes. The numbers are exact below 2^53,
 * where all files of this kernel end.
 */
export interface MmapRequest {
  readonly offset: number;
  readonly length: number;
  /** MAP_SHARED */
  readonly shared: boolean;
}

/** A mapping that the caller makes for itself. */
export interface MappedFile {
  /**
   * The file that is the mapping's reference, open for as long as the mapping exists. It passes the
   * object to map.
   */
  readonly operations: FileOperations;
  readonly objectOffset: number;
  /** The object is empty: accesses go by pread and pwrite of `operations`. */
  readonly registers: boolean;
}

export interface ClientEventfd {
  /** A duplicate of the fd. The receiver closes it. */
  readonly fd: number;
  /**
   * Another duplicate, at any time. Undefined when the client's fd of that number is no longer this
   * eventfd.
   */
  again(): number | undefined;
}

/** The caller of a system call, with its fd table as far as the kernel needs it. */
export interface Caller {
  readonly task: Task;
  /** The file the call is on. */
  readonly thisFile: OpenFile;
  /**
   * fget(): the open file behind a fd of the caller. Undefined when the fd is open but no file of
   * this kernel. EBADF.
   */
  file(fd: number): OpenFile | undefined;
  /**
   * eventfd_ctx_fdget(): a duplicate of the caller's eventfd, which the kernel closes. EBADF;
   * EINVAL for another kind of file.
   */
  eventfd(fd: number): number;
  /**
   * The same as eventfd(), for an eventfd that is watched and not signalled. Nothing may keep its
   * file for long.
   */
  eventfdToWatch(fd: number): ClientEventfd;
  /**
   * Gives the caller a new fd for `operations` when the call returns. The file is released if the
   * caller never takes the fd. Once per call.
   */
  install(operations: FileOperations): void;
}

/**
 * An open file description. Its references are the caller's fds (as one), calls under way, and
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
