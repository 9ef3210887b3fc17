/**
 * The data that a step of these tables works on. Two kinds of process play the same steps: real
 * ones on a host (client/), and simulated ones on the kernel's code in one process
 * (test/conformance).
 */
import type { Step } from '../vector-file.ts';
import type { State } from './state.ts';
import type { Answer, Words } from './words.ts';

/** Memory of the process. It ends exactly where its mapping ends. */
export interface UserBuffer {
  readonly vaddr: number;
  /** The present content. */
  bytes(): Answer<Uint8Array>;
  unmap(): Answer<void>;
}

/** The system calls of the process that plays the step. Every call throws its errno. */
export interface SystemCalls {
  /** open(2) without O_CLOEXEC: a node of the emulated kernel, or any other file. */
  open(path: string): Answer<number>;
  /** ioctl(2). Afterwards `arg` holds what the kernel has written, also when the kernel refuses. */
  ioctl(fd: number, nr: number, arg: number | bigint | Uint8Array): Answer<number>;
  pread(fd: number, offset: number | bigint, into: Uint8Array): Answer<number>;
  pwrite(fd: number, offset: number | bigint, data: Uint8Array): Answer<number>;
  /** close(2). Afterwards the kernel has released everything that had no other reference. */
  close(fd: number): Answer<void>;
  dup(fd: number): Answer<number>;
  getCloexec(fd: number): Answer<boolean>;
  setCloexec(fd: number, on: boolean): Answer<void>;
  /** eventfd(2) without O_CLOEXEC, nonblocking. */
  eventfd(): Answer<number>;
  /** Reads the count of an eventfd and sets it to 0. */
  readEventfd(fd: number): Answer<bigint>;
  /** Adds to the count of an eventfd. */
  writeEventfd(fd: number, count: bigint): Answer<void>;
  /** Maps a buffer that holds `bytes`. */
  buffer(bytes: Uint8Array): Answer<UserBuffer>;
}

export interface CallContext {
  readonly step: Step;
  readonly state: State;
  readonly words: Words;
  readonly calls: SystemCalls;
  /** Name of a device in the vectors → its group, and its name for VFIO_GROUP_GET_DEVICE_FD. */
  readonly devices: Readonly<Record<string, { readonly group: number; readonly name: string }>>;
}

/**
 * Operation → the function that carries it out. The function returns the answer in the notation of
 * the vectors.
 */
export type StepTable<Context = CallContext> = Readonly<Record<string, (context: Context) => Answer<string>>>;
