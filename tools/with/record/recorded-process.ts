/** One process of a recording: its steps, with names for its fds and its memory. */
import { VFIO_CONTAINER_PATH, VFIO_GROUP_DIR } from '../../../iommu/abi/wire.ts';
import { codeOf, errnoName } from '../../../platform/errno.ts';
import { AddressSpace, vmaObjectKey } from '../../../platform/process.ts';
import type { Notes } from '../trace/notes.ts';
import { argumentText } from '../trace/structs.ts';
import { FdNames, fdName, type Write } from './fd-names.ts';
import { MemoryNames, type MemorySource } from './memory-names.ts';
import { type Names, recordedStep } from './step.ts';

/** A call that is over, or just about to be. */
export interface RecordedCall {
  readonly tid: number;
  /** What the program gets: a result ≥ 0, or −errno. */
  readonly result: number;
  readonly notes: Notes;
}

/** A process that has forked another one, and what the recording calls that. */
interface Origin {
  readonly parent: RecordedProcess;
  readonly actor: string;
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

  constructor(pid: number, line: (text: string) => void, origin?: Origin) {
    this.pid = pid;
    this.#line = line;
    this.#actor = origin?.actor;
    this.#space = new AddressSpace(pid);
    const write: Write = (step, answer) => this.#write('!', step, answer);
    this.#fds = origin ? origin.parent.#fds.copyFor(pid, write) : new FdNames(pid, write);
    const deviceFd = (key: string): string | undefined => {
      const fd = this.#fds.ofObject(key);
      return fd === undefined ? undefined : fdName(fd);
    };
    const source: MemorySource = {
      vmaAt: (vaddr) => this.#space.vmaAt(vaddr),
      deviceFd: (vma) => deviceFd(vmaObjectKey(vma)),
    };
    this.#memory = origin ? origin.parent.#memory.copyFor(source, write) : new MemoryNames(source, write);
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

  /** The process that it has forked, with its fds and its memory of this moment. */
  fork(pid: number, actor: string): RecordedProcess {
    this.#fds.closes();
    this.#write('!', `fork ${actor}`, '0');
    return new RecordedProcess(pid, this.#line, { parent: this, actor });
  }

  /** It has not ended; it may have become another image. */
  lives(): boolean {
    return !this.#isOver && (this.#space.alive() || this.#execs());
  }

  /** Writes its end, once. */
  endsIfGone(): void {
    if (this.#isOver || this.lives()) return;
    this.#isOver = true;
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
    if (!this.lives()) return;
    this.#fds.closes();
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
      if (codeOf(error) === 'ESRCH') return false;
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
    this.#space.close();
  }
}
