/** The processes and threads of a vector case, with the memory their script gave them. */
import { VectorError } from '../../tools/conform/vector-file.ts';
import { type FakeMachine, type FakeObject, FakeProcess } from '../iommu/kernel/vfio/type1/machine.ts';

const MIB = 2 ** 20;

/** A thread of a process; one step of it at a time. */
export interface Actor {
  process: FakeProcess;
  /** The step under way, and its answer once there is one. */
  running: Promise<void> | undefined;
  answer: string | undefined;
}

/** What `mem` made. */
interface Memory {
  readonly object: FakeObject;
  readonly isPrivate: boolean;
  readonly prot: string;
}

export class Actors {
  readonly #machine: FakeMachine;
  readonly #actors = new Map<string, Actor>();
  readonly #memories = new Map<string, Memory>();
  /** Start addresses of memories. A fork has them at the same place, an exec at none. */
  readonly symbols = new Map<string, number>();
  readonly main: Actor;
  #nextPid = 1000;

  constructor(machine: FakeMachine) {
    this.#machine = machine;
    this.main = { process: new FakeProcess(this.#nextPid++), running: undefined, answer: undefined };
  }

  get(name: string | undefined): Actor {
    if (name === undefined) return this.main;
    const actor = this.#actors.get(name);
    if (!actor) throw new VectorError(`no actor ${name}`);
    return actor;
  }

  thread(name: string): void {
    this.#actors.set(name, { process: this.main.process, running: undefined, answer: undefined });
  }

  /** execve by a thread that is not the leader: the leader's task is no more, another has its pid (ACC-7). */
  execByThread(): FakeProcess {
    const old = this.main.process;
    const process = new FakeProcess(old.pid);
    process.ipcLock = old.ipcLock;
    process.memlockPages = old.memlockPages;
    old.exit();
    this.main.process = process;
    return process;
  }

  /** Shared objects stay shared; private memory is copied. */
  fork(name: string): void {
    const parent = this.main.process;
    const child = new FakeProcess(this.#nextPid++);
    child.ipcLock = parent.ipcLock;
    child.memlockPages = parent.memlockPages;
    for (const vma of parent.space.vmas) {
      const { shared, readable, writable, offset, start, end } = vma;
      const prot = `${readable ? 'r' : ''}${writable ? 'w' : ''}`;
      let { object } = vma;
      if (!shared) {
        object = this.#machine.object(object.size);
        object.bytes.set(vma.object.bytes);
      }
      child.space.map(object, { prot, private: !shared, offset, size: end - start }, start);
    }
    this.#actors.set(name, { process: child, running: undefined, answer: undefined });
  }

  /** `mem NAME KIND SIZE [PROT]` */
  memory(process: FakeProcess, name: string, kind: string, size: number, prot = 'rw'): void {
    if (!['memfd', 'hugetlb', 'anon', 'hole'].includes(kind)) throw new VectorError(`no kind of memory ${kind}`);
    const effective = kind === 'hole' ? 'n' : prot;
    if (kind === 'anon') {
      this.symbols.set(name, this.#machine.anonymous(process.space, size, effective));
      return;
    }
    const rounded = kind === 'hugetlb' ? Math.ceil(size / (2 * MIB)) * 2 * MIB : size;
    const object = this.#machine.object(rounded);
    this.#memories.set(name, { object, isPrivate: false, prot: effective });
    this.symbols.set(name, process.space.map(object, { prot: effective }));
  }

  /** `remap OLD NEW`: the same object at another address. */
  remap(process: FakeProcess, old: string, name: string): void {
    const memory = this.#memories.get(old);
    if (!memory) throw new VectorError(`no memory ${old}`);
    this.#memories.set(name, memory);
    this.symbols.set(name, process.space.map(memory.object, { prot: memory.prot }));
  }
}
