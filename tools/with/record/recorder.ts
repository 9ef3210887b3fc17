/**
 * Writes what a program's VFIO calls did as a case of a recording (docs/recordings.md, "Format"),
 * for `livevmm conform`. NOT MODELLED: calls of other processes than the first that enters the
 * kernel, two calls at the same time, and what the program does with its memory and its eventfds.
 */
import { VFIO_CONTAINER_PATH, VFIO_GROUP_DIR } from '../../../iommu/abi/wire.ts';
import { codeOf, errnoName } from '../../../platform/errno.ts';
import { AddressSpace, vmaObjectKey } from '../../../platform/process.ts';
import { processOf } from '../../../platform/process-status.ts';
import type { Notes } from '../trace/notes.ts';
import { argumentText } from '../trace/structs.ts';
import { FdNames, fdName } from './fd-names.ts';
import { MemoryNames } from './memory-names.ts';
import { type Names, recordedStep } from './step.ts';

/** A call that is over, or just about to be. */
export interface RecordedCall {
  readonly tid: number;
  /** What the program gets: a result ≥ 0, or −errno. */
  readonly result: number;
  readonly notes: Notes;
}

export class Recorder {
  readonly #line: (text: string) => void;
  #process: RecordedProcess | undefined;
  #others = 0;

  /** `line` gets the lines. `name` is the program's. */
  constructor(name: string, line: (text: string) => void) {
    this.#line = line;
    line(`case ${name.replace(/[^\w.-]/g, '_') || 'program'}`);
  }

  over(call: RecordedCall): void {
    const { path, asked } = call.notes;
    if (path !== undefined ? !path.startsWith(VFIO_GROUP_DIR) : asked.every(({ reply }) => reply.foreign)) return;
    const pid = processOf(call.tid);
    if (pid === undefined) return;
    this.#process ??= new RecordedProcess(pid, this.#line);
    if (pid === this.#process.pid) this.#process.over(call);
    else this.#others++;
  }

  end(): void {
    if (this.#others > 0) this.#line(`# ${this.#others} calls of other processes are not recorded`);
    this.#line('end');
    this.#process?.close();
  }
}

class RecordedProcess {
  readonly pid: number;
  readonly #line: (text: string) => void;
  readonly #fds: FdNames;
  readonly #memory: MemoryNames;
  readonly #names: Names;
  #space: AddressSpace;

  constructor(pid: number, line: (text: string) => void) {
    this.pid = pid;
    this.#line = line;
    this.#space = new AddressSpace(pid);
    const write = (step: string, answer: string): void => this.#write('!', step, answer);
    this.#fds = new FdNames(pid, write);
    const deviceFd = (key: string): string | undefined => {
      const fd = this.#fds.ofObject(key);
      return fd === undefined ? undefined : fdName(fd);
    };
    this.#memory = new MemoryNames(
      { vmaAt: (vaddr) => this.#space.vmaAt(vaddr), deviceFd: (vma) => deviceFd(vmaObjectKey(vma)) },
      write,
    );
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

  #write(mark: '!' | '>', step: string, answer: string): void {
    this.#line(`${mark} ${step}`);
    this.#line(`< ${answer}`);
  }

  over({ result, notes: { path, asked } }: RecordedCall): void {
    if (!this.#space.alive() && !this.#execs()) return;
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
