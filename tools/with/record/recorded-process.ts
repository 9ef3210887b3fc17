/** One process of a recording: its steps, with names for its fds and its memory. */
import { VFIO_CONTAINER_PATH, VFIO_GROUP_DIR } from '../../../iommu/abi/wire.ts';
import { codeOf, errnoName } from '../../../platform/errno.ts';
import { close } from '../../../platform/libc/fd.ts';
import { isEnding, pidfdOpen } from '../../../platform/libc/other-process.ts';
import { AddressSpace, vmaObjectKey } from '../../../platform/process.ts';
import type { Notes } from '../trace/notes.ts';
import { argumentText } from '../trace/structs.ts';
import { FdNames, type FdSource, fdName, identityOf, type Write } from './fd-names.ts';
import { MemoryNames, type MemorySource } from './memory-names.ts';
import { type Names, recordedStep } from './step.ts';

/** A call that is over, or just about to be. */
export interface RecordedCall {
  readonly tid: number;
  /** What the program gets: a result ≥ 0, or −errno. */
  readonly result: number;
  readonly notes: Notes;
}

/** A fd of another process, for the same file. */
export interface Given {
  readonly from: RecordedProcess;
  readonly its: number;
}

export interface ProcessOptions {
  /** Gets the lines of the recording. */
  readonly line: (text: string) => void;
  /** What the recording calls it; absent for the main actor. */
  readonly actor?: string;
  /** The process that has forked it; absent where that is none of the recording's. */
  readonly parent?: RecordedProcess;
  /** Another process that has a file open. */
  readonly giverOf: (identity: string, receiver: RecordedProcess) => Given | undefined;
}

export class RecordedProcess {
  readonly pid: number;
  readonly #line: (text: string) => void;
  readonly #fds: FdNames;
  readonly #memory: MemoryNames;
  readonly #names: Names;
  readonly #actor: string | undefined;
  #space: AddressSpace;
  #isOver = false;

  /** Writes its beginning. ESRCH: it is gone. EACCES: we may not look at it. */
  constructor(pid: number, { line, actor, parent, giverOf }: ProcessOptions) {
    this.pid = pid;
    this.#line = line;
    this.#actor = actor;
    this.#space = new AddressSpace(pid);
    if (parent) parent.#write('!', `fork ${actor}`, '0');
    else if (actor !== undefined) {
      line(`! process ${actor}`);
      line('< 0');
    }
    const write: Write = (step, answer) => this.#write('!', step, answer);
    const receives = (fd: number, identity: string): boolean => {
      const given = giverOf(identity, this);
      if (given) given.from.#pass(given.its, this, fd);
      return given !== undefined;
    };
    const fdSource: FdSource = { pid, write, identity: identityOf, receives };
    this.#fds = parent ? parent.#fds.copyFor(fdSource) : new FdNames(fdSource);
    const deviceFd = (key: string): string | undefined => {
      const fd = this.#fds.ofObject(key);
      return fd === undefined ? undefined : fdName(fd);
    };
    const source: MemorySource = {
      vmaAt: (vaddr) => this.#space.vmaAt(vaddr),
      deviceFd: (vma) => deviceFd(vmaObjectKey(vma)),
    };
    this.#memory = parent ? parent.#memory.copyFor(source, write) : new MemoryNames(source, write);
    this.#names = {
      fd: (fd) => this.#fds.word(fd),
      memory: (vaddr, length) => this.#memory.word(vaddr, length),
      read: (vaddr, length) => {
        const bytes = new Uint8Array(length);
        this.#space.read(vaddr, bytes);
        return bytes;
      },
    };
  }

  /** Its end is written. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** A fd of it for this file, as far as the recording knows. */
  fdOf(identity: string): number | undefined {
    return this.#fds.ofObject(identity);
  }

  /** Fds that are no longer what they were in the recording, with what that was. */
  lost(): [fd: number, identity: string][] {
    return this.#fds.lost();
  }

  /** Its fd `fd` has the same file as a fd of another process has or had, and gets a name. */
  receive(fd: number, { from, its }: Given): void {
    if (this.#fds.has(fd)) return;
    from.#pass(its, this, fd);
    this.#fds.opened(fd);
  }

  #pass(fd: number, to: RecordedProcess, its: number): void {
    this.#write('!', `pass ${fdName(fd)} ${to.#actor ?? 'main'} ${fdName(its)}`, '0');
  }

  /** Writes what it has closed, that it has become another image, or its end. */
  closes(): void {
    if (this.#isOver) return;
    if (this.#space.alive() || this.#execs()) {
      this.#fds.closes();
      return;
    }
    this.#isOver = true;
    this.#space.close();
    if (this.#actor === undefined) {
      this.#fds.ends();
      return;
    }
    this.#line(`! kill ${this.#actor} 9`);
    this.#line('< 0 ended sig=9');
  }

  #write(mark: '!' | '>', step: string, answer: string): void {
    this.#line(`${mark} ${this.#actor === undefined ? '' : `@${this.#actor} `}${step}`);
    this.#line(`< ${answer}`);
  }

  over({ result, notes: { path, asked } }: RecordedCall): void {
    this.closes(); // a fork may have closed what its parent still has
    if (this.#isOver) return;
    if (path !== undefined) {
      this.#opens(path, result);
      return;
    }
    for (const { request, reply } of asked) {
      if (reply.foreign) continue;
      const newFd = reply.token !== undefined && result >= 0 ? result : undefined;
      if (newFd !== undefined) this.#fds.opened(newFd);
      const recorded = recordedStep(request, reply, this.#names, newFd);
      if (request.op === 'ioctl') this.#line(`# ${reply.call ?? 'ioctl'} ${argumentText(reply.call, request.arg)}`);
      if (recorded) this.#write('>', recorded.step, recorded.answer);
      else this.#line(`# ${request.op}: not recorded`);
    }
  }

  #opens(path: string, result: number): void {
    const name = result < 0 ? 'none' : fdName(result);
    if (result >= 0) this.#fds.opened(result);
    const group = path.slice(VFIO_GROUP_DIR.length);
    const step = path === VFIO_CONTAINER_PATH ? `container ${name}` : `group ${name} ${group}`;
    this.#write('>', step, result < 0 ? `-${errnoName(-result)}` : '0');
  }

  /** The process has another address space. False: it has ended. */
  #execs(): boolean {
    let space: AddressSpace;
    try {
      space = new AddressSpace(this.pid);
    } catch (error) {
      if (isGone(this.pid, error)) return false;
      throw error;
    }
    if (!space.alive()) {
      space.close();
      return false; // a zombie
    }
    this.#space.close();
    this.#space = space;
    this.#fds.execs();
    this.#memory.execs();
    this.#write('!', 'exec', '0');
    return true;
  }

  close(): void {
    if (!this.#isOver) this.#space.close();
  }
}

/**
 * Whether the process has ended, if that is why its memory could not be opened: that of a process
 * which nobody has waited for yet is EACCES for who is not root.
 */
function isGone(pid: number, error: unknown): boolean {
  if (codeOf(error) === 'ESRCH') return true;
  if (codeOf(error) !== 'EACCES') return false;
  let pidfd: number;
  try {
    pidfd = pidfdOpen(pid);
  } catch (none) {
    return codeOf(none) === 'ESRCH';
  }
  try {
    return isEnding(pidfd);
  } finally {
    close(pidfd);
  }
}
