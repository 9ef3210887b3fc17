/**
 * A made-up process. Its memory and its fd table are made up; its system calls run the kernel's own
 * code, from the request to the reply.
 */
import type { FileRequest, Reply } from '../../iommu/abi/wire.ts';
import { VFIO_GROUP_DIR } from '../../iommu/abi/wire.ts';
import { type ClientEventfd, dropped, OpenFile } from '../../iommu/kernel/core/open-file.ts';
import { FileTable } from '../../iommu/kernel/entry/file-table.ts';
import { SystemCall } from '../../iommu/kernel/entry/system-call.ts';
import type { Vfio } from '../../iommu/kernel/vfio/vfio.ts';
import { ebadf, einval } from '../../platform/errno.ts';
import { eventfdId } from '../../platform/eventfd-watch.ts';
import { EFD_NONBLOCK, eventfd } from '../../platform/libc/eventfd.ts';
import { close, dup } from '../../platform/libc/fd.ts';
import { read, write } from '../../platform/libc/file-bytes.ts';
import { wholePages } from '../../platform/page.ts';
import type { SystemCalls, UserBuffer } from '../../tools/conform/steps/call-context.ts';
import { State } from '../../tools/conform/steps/state.ts';
import { VectorError } from '../../tools/conform/vector-file.ts';
import { FIOCLEX, FIONCLEX } from '../../vmm/client/kernel-client.ts';
import { succeeded } from '../../vmm/client/task-channel.ts';
import { type FakeMachine, type FakeObject, FakeProcess } from '../fakes/fake-machine.ts';

const HUGE_PAGE = 2 ** 21;
const KINDS = ['memfd', 'hugetlb', 'anon', 'hole'];

/**
 * What a fd refers to: a file of the emulated kernel, a real eventfd, or something that is neither.
 */
type Behind = { readonly file: OpenFile } | { readonly eventfd: number } | 'another file';

interface Descriptor {
  readonly behind: Behind;
  cloexec: boolean;
}

/** What `mem` made. */
interface Memory {
  readonly object: FakeObject;
  readonly prot: string;
}

/** What all processes of a case have in common. */
export interface Surroundings {
  readonly machine: FakeMachine;
  readonly vfio: Vfio;
}

/** No connection of a client: the fds of made-up processes are in their own tables. */
const NO_CONNECTIONS = new FileTable();

/**
 * The kernel's system call. Only where it would look into /proc, or use a pidfd, it asks the
 * made-up process.
 */
class MadeUpCall extends SystemCall {
  readonly #process: ReplayProcess;

  constructor(process: ReplayProcess) {
    super(process.tasks.task(), NO_CONNECTIONS);
    this.#process = process;
  }

  override file(fd: number): OpenFile | undefined {
    const { behind } = this.#process.descriptor(fd);
    return typeof behind === 'object' && 'file' in behind ? behind.file : undefined;
  }

  override eventfd(fd: number): number {
    return dup(this.#process.eventfdBehind(fd));
  }

  override eventfdToWatch(fd: number): ClientEventfd {
    const copy = this.eventfd(fd);
    const id = eventfdId(copy);
    const again = (): number | undefined => {
      const now = this.#process.hasEventfd(fd) ? this.#process.eventfdBehind(fd) : undefined;
      return now !== undefined && eventfdId(now) === id ? dup(now) : undefined;
    };
    return { fd: copy, again };
  }
}

export class ReplayProcess implements SystemCalls {
  /** Its task and its address space; another thread's exec replaces the task. */
  tasks: FakeProcess;
  readonly state: State;
  readonly #surroundings: Surroundings;
  readonly #fds = new Map<number, Descriptor>();
  /** By name, over every exec. */
  readonly #memories: Map<string, Memory>;
  #nextFd = 0;

  constructor(pid: number, surroundings: Surroundings, parent?: ReplayProcess) {
    this.tasks = new FakeProcess(pid);
    this.#surroundings = surroundings;
    this.state = new State(parent?.state.save());
    this.#memories = new Map(parent ? parent.#memories : []);
    if (parent) this.#copyOf(parent);
    else for (const _ of ['stdin', 'stdout', 'stderr']) this.#add('another file');
  }

  /**
   * fork(2): shared objects stay shared, private memory is copied, open files have one more
   * reference.
   */
  #copyOf(parent: ReplayProcess): void {
    this.#nextFd = parent.#nextFd;
    for (const [fd, { behind, cloexec }] of parent.#fds) this.#fds.set(fd, { behind: another(behind), cloexec });
    this.tasks.ipcLock = parent.tasks.ipcLock;
    this.tasks.memlockPages = parent.tasks.memlockPages;
    for (const vma of parent.tasks.space.vmas) {
      const { shared, readable, writable, offset, start, end } = vma;
      const prot = `${readable ? 'r' : ''}${writable ? 'w' : ''}`;
      let { object } = vma;
      if (!shared) {
        object = this.#surroundings.machine.object(object.size);
        object.bytes.set(vma.object.bytes);
      }
      this.tasks.space.map(object, { prot, private: !shared, offset, size: end - start }, start);
    }
  }

  /**
   * execve(2). By a thread that is not the leader: the leader's task is no more, and the thread has
   * its pid (ACC-7).
   */
  async exec(byLeader: boolean): Promise<void> {
    if (byLeader) this.tasks.exec();
    else {
      const { pid, ipcLock, memlockPages } = this.tasks;
      this.tasks.exit();
      this.tasks = Object.assign(new FakeProcess(pid), { ipcLock, memlockPages });
    }
    for (const [name, fd] of [...this.state.fds()]) {
      if (this.#fds.get(fd)?.cloexec) this.state.change({ fd: name, number: null });
    }
    this.state.forgetImage();
    await this.#closeAll(({ cloexec }) => cloexec);
  }

  /** SIGKILL. What of the releases is not over goes on without it. */
  exit(): Promise<void> {
    this.tasks.exit();
    return this.#closeAll(() => true);
  }

  async #closeAll(which: (descriptor: Descriptor) => boolean): Promise<void> {
    const fds = [...this.#fds].flatMap(([fd, descriptor]) => (which(descriptor) ? [fd] : []));
    await Promise.all(fds.map((fd) => this.close(fd)));
  }

  #add(behind: Behind, cloexec = false): number {
    this.#fds.set(this.#nextFd, { behind, cloexec });
    return this.#nextFd++;
  }

  /** EBADF when it is not open. */
  descriptor(fd: number): Descriptor {
    const descriptor = this.#fds.get(fd);
    if (!descriptor) throw ebadf(`fd ${fd}`);
    return descriptor;
  }

  open(path: string): number {
    if (!path.startsWith(VFIO_GROUP_DIR)) return this.#add('another file');
    const mayOpenGroups = this.tasks.ipcLock; // root
    return this.#add({ file: new OpenFile(this.#surroundings.vfio.open(path, mayOpenGroups)) });
  }

  dup(fd: number): number {
    return this.#add(another(this.descriptor(fd).behind));
  }

  /** SCM_RIGHTS: process `to` gets the open file under a name. EBADF. */
  pass(fd: number, to: ReplayProcess, name: string): void {
    to.state.change({ fd: name, number: to.#add(another(this.descriptor(fd).behind)) });
  }

  async close(fd: number): Promise<void> {
    const { behind } = this.descriptor(fd);
    this.#fds.delete(fd);
    if (behind === 'another file') return;
    if ('file' in behind) await dropped(() => behind.file.put());
    else close(behind.eventfd);
  }

  getCloexec(fd: number): boolean {
    return this.descriptor(fd).cloexec;
  }

  setCloexec(fd: number, on: boolean): void {
    this.descriptor(fd).cloexec = on;
  }

  async ioctl(fd: number, nr: number, arg: number | bigint | Uint8Array): Promise<number> {
    if (nr === FIOCLEX || nr === FIONCLEX) {
      this.setCloexec(fd, nr === FIOCLEX);
      return 0;
    }
    const call = new MadeUpCall(this);
    const copy = arg instanceof Uint8Array ? arg.slice() : arg; // as a frame brings it
    const reply = await call.run({ op: 'ioctl', fd, nr, arg: copy });
    if (reply.out && arg instanceof Uint8Array) arg.set(reply.out);
    const { ret } = succeeded(reply, 'ioctl');
    const file = call.takeInstalled();
    return file ? this.#add({ file }, true) : ret;
  }

  async pread(fd: number, offset: number | bigint, into: Uint8Array): Promise<number> {
    const { ret, out } = await this.#request({ op: 'pread', fd, offset, length: into.length });
    if (out) into.set(out);
    return ret;
  }

  async pwrite(fd: number, offset: number | bigint, data: Uint8Array): Promise<number> {
    return (await this.#request({ op: 'pwrite', fd, offset, data })).ret;
  }

  async #request(request: FileRequest): Promise<Reply> {
    return succeeded(await new MadeUpCall(this).run(request), request.op);
  }

  eventfd(): number {
    return this.#add({ eventfd: eventfd(0, EFD_NONBLOCK) });
  }

  hasEventfd(fd: number): boolean {
    const behind = this.#fds.get(fd)?.behind;
    return typeof behind === 'object' && 'eventfd' in behind;
  }

  /** The real fd. EBADF, EINVAL for another kind of file. */
  eventfdBehind(fd: number): number {
    const { behind } = this.descriptor(fd);
    if (typeof behind === 'object' && 'eventfd' in behind) return behind.eventfd;
    throw einval(`fd ${fd} is not an eventfd`);
  }

  readEventfd(fd: number): bigint {
    const count = new BigUint64Array(1);
    read(this.eventfdBehind(fd), new Uint8Array(count.buffer));
    return count[0]!;
  }

  writeEventfd(fd: number, count: bigint): void {
    write(this.eventfdBehind(fd), new Uint8Array(BigUint64Array.of(count).buffer));
  }

  buffer(bytes: Uint8Array): UserBuffer {
    const { space } = this.tasks;
    const size = wholePages(Math.max(1, bytes.length));
    const start = space.map(this.#surroundings.machine.object(size));
    const vaddr = start + size - bytes.length;
    space.write(vaddr, bytes);
    return { vaddr, bytes: () => space.peek(vaddr, bytes.length), unmap: () => space.unmap(start, size) };
  }

  /** `mem NAME KIND SIZE [PROT]` */
  createMemory(name: string, kind: string, size: number, prot: string): void {
    if (!KINDS.includes(kind)) throw new VectorError(`no kind of memory ${kind}`);
    const { machine } = this.#surroundings;
    if (kind === 'anon') {
      this.state.change({ symbol: name, vaddr: machine.anonymous(this.tasks.space, size, prot), memory: null });
      return;
    }
    const object = machine.object(kind === 'hugetlb' ? Math.ceil(size / HUGE_PAGE) * HUGE_PAGE : size);
    if (kind !== 'hole') this.state.change({ fd: name, number: this.#add('another file') });
    this.#mapObject(name, { object, prot: kind === 'hole' ? 'n' : prot });
  }

  /** `remap OLD NEW`: the same object at another address. */
  remap(old: string, name: string): void {
    const memory = this.#memories.get(old);
    if (!memory) throw new VectorError(`no memory ${old}`);
    this.#mapObject(name, memory);
  }

  #mapObject(name: string, memory: Memory): void {
    this.#memories.set(name, memory);
    const vaddr = this.tasks.space.map(memory.object, { prot: memory.prot });
    this.state.change({ symbol: name, vaddr, memory: null });
  }
}

/** The same open file for another fd. */
function another(behind: Behind): Behind {
  if (behind === 'another file') return behind;
  return 'file' in behind ? { file: behind.file.get() } : { eventfd: dup(behind.eventfd) };
}
