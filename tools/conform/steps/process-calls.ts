/** What a step of a real process gets: its system calls, and a way to ask its host. */
import type { Rlimit } from '../../../platform/libc/other-process.ts';
import type { KernelClient } from '../../../vmm/client/kernel-client.ts';
import type { CallContext, SystemCalls } from './call-context.ts';
import type { Answer } from './words.ts';

/** The signal that would kill the process. */
export type Fault = 'SIGBUS' | 'SIGSEGV';

export interface Placement {
  readonly vaddr: number;
  readonly length: number;
  readonly prot: number;
  readonly flags: number;
  /** −1 for no file. */
  readonly fd: number;
  /** Offset in the file; of a device fd: region << 40 | offset in the region. */
  readonly offset: number;
}

/** Every call throws its errno. */
export interface ProcessCalls extends SystemCalls {
  /** The process that plays the step. */
  readonly pid: number;
  mmap(placement: Placement): Answer<number>;
  /** mmap(2) of a device fd. */
  mapDevice(placement: Placement): Answer<number>;
  munmap(vaddr: number, length: number): Answer<void>;
  mprotect(vaddr: number, length: number, prot: number): Answer<void>;
  mlock(vaddr: number, length: number): Answer<void>;
  memfd(name: string, flags: number): Answer<number>;
  ftruncate(fd: number, size: number): Answer<void>;
  /** Loads bytes as the CPU does. */
  load(vaddr: number, into: Uint8Array): Answer<Fault | undefined>;
  /** Stores bytes as the CPU does. */
  store(vaddr: number, bytes: Uint8Array): Answer<Fault | undefined>;
  /** RLIMIT_MEMLOCK. */
  getMemlock(): Answer<Rlimit>;
  setMemlock(limit: Rlimit): Answer<void>;
  /** setuid(2) of all threads. Root loses all its capabilities. */
  setuid(uid: number): Answer<void>;
  /** Installs an empty handler. EINVAL for a signal that cannot be handled. */
  handleSignal(signal: number): Answer<void>;
  sleep(ms: number): Answer<void>;
}

/** Asks the host about itself. */
export type HostControl = Pick<KernelClient, 'open' | 'control' | 'close'>;

/** Reports that something was done in another way than the step asks. */
export type Note = (text: string) => void;

export interface ProcessContext extends CallContext {
  readonly calls: ProcessCalls;
  readonly host: HostControl;
  readonly note: Note;
}
