/**
 * What a step of these tables has at hand. The same steps are played by real processes on a host
 * (client/) and by made-up ones on the kernel's code in one process (test/conformance).
 */
import type { Step } from '../vector-file.ts';
import type { State } from './state.ts';
import type { Answer, Words } from './words.ts';

/** Memory of the process that ends where its mapping ends. */
export interface UserBuffer {
  readonly vaddr: number;
  /** What it holds now. */
  bytes(): Uint8Array;
  unmap(): void;
}

/** The system calls of the process whose step it is. All throw their errno. */
export interface SystemCalls {
  /** open(2) without O_CLOEXEC: a node of the emulated kernel, or any other file. */
  open(path: string): Answer<number>;
  /** ioctl(2): what the kernel writes is in `arg` afterwards, also when it refuses. */
  ioctl(fd: number, nr: number, arg: number | bigint | Uint8Array): Answer<number>;
  pread(fd: number, offset: number | bigint, into: Uint8Array): Answer<number>;
  pwrite(fd: number, offset: number | bigint, data: Uint8Array): Answer<number>;
  /** close(2): afterwards the kernel has released what had no other reference. */
  close(fd: number): Answer<void>;
  dup(fd: number): number;
  getCloexec(fd: number): boolean;
  setCloexec(fd: number, on: boolean): void;
  /** eventfd(2) without O_CLOEXEC, nonblocking. */
  eventfd(): number;
  /** The count of an eventfd, which is 0 afterwards. */
  readEventfd(fd: number): bigint;
  /** Adds to the count of an eventfd. */
  writeEventfd(fd: number, count: bigint): void;
  /** Maps a buffer that holds `bytes`. */
  buffer(bytes: Uint8Array): UserBuffer;
}

export interface CallContext {
  readonly step: Step;
  readonly state: State;
  readonly words: Words;
  readonly calls: SystemCalls;
  /**
   * Name of a device in the vectors → its group, and the name it has for VFIO_GROUP_GET_DEVICE_FD.
   */
  readonly devices: Readonly<Record<string, { readonly group: number; readonly name: string }>>;
}

/** Operation → what it does; the answer as the vectors write it. */
export type StepTable<Context = CallContext> = Readonly<Record<string, (context: Context) => Answer<string>>>;
