/**
 * Memory that is reached through /proc/<pid>/mem. It is a client's memory, reached through the
 * client's process, or a memory object that may become shorter, reached through our own process.
 */
import { SysError } from '../../../platform/errno.ts';
import { pread, pwrite } from '../../../platform/libc/file-bytes.ts';
import { ByteTarget } from './target.ts';

export interface ProcessRange {
  readonly kind: 'process';
  readonly start: number;
  readonly size: number;
  readonly memFd: number;
  /** The start of the range in the process. */
  readonly vaddr: number;
}

/**
 * Memory of a process as a target. Reads give 0 and writes vanish where nothing is mapped, or when
 * the mm is dead.
 */
export class ProcessTarget extends ByteTarget {
  readonly #memFd: number;
  readonly #vaddr: number;

  constructor({ memFd, vaddr }: ProcessRange) {
    super();
    this.#memFd = memFd;
    this.#vaddr = vaddr;
  }

  read(at: number, dst: Uint8Array): boolean {
    let done = 0;
    try {
      done = pread(this.#memFd, dst, this.#vaddr + at);
    } catch (error) {
      if (!isGone(error)) throw error;
    }
    dst.fill(0, done);
    return true;
  }

  write(at: number, src: Uint8Array): boolean {
    try {
      pwrite(this.#memFd, src, this.#vaddr + at);
    } catch (error) {
      if (!isGone(error)) throw error;
    }
    return true;
  }
}

/**
 * The address space is dead, or its owner has unmapped the page. A real pin would have kept the old
 * page, which nothing else sees.
 */
const isGone = (error: unknown): boolean =>
  error instanceof SysError && (error.code === 'EIO' || error.code === 'ESRCH' || error.code === 'EFAULT');
