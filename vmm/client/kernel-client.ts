/**
 * The system calls that one thread makes on emulated files (iommu/abi/wire.ts). A fd is a real one:
 * it is the socket that *is* the open file. Every call blocks its thread and throws the errno of
 * the kernel.
 *
 * Each thread has a client of its own. A file may be opened by one thread and used by another.
 */
import type { ControlReplies, ControlRequest } from '../../iommu/abi/control.ts';
import { DEVICE_FD_PATH, type OpenHello, type PkernfsEntry, type TaskHello } from '../../iommu/abi/wire.ts';
import { eproto, etimedout } from '../../platform/errno.ts';
import { close as closeFd, dupTo, setCloexec } from '../../platform/libc/fd.ts';
import { MAP_SHARED } from '../../platform/libc/mmap.ts';
import { POLLIN, poll } from '../../platform/libc/poll.ts';
import { allowPtraceBy, execve, gettid } from '../../platform/libc/this-process.ts';
import { connectUnix, peerCredentials } from '../../platform/libc/unix-socket.ts';
import type { SharedPart } from '../../platform/shared.ts';
import { BarMappings, type MappedBar, type MmapOptions, takeObject } from './bar-mapping.ts';
import { ClientPages } from './client-pages.ts';
import { Conversation, type FileCalls, type Posted, TaskChannel } from './task-channel.ts';

/**
 * The ioctls of asm-generic/ioctls.h that Linux answers for any file before it asks the file
 * (do_vfs_ioctl): they change the fd's own flag.
 */
export const FIONCLEX = 0x5450;
export const FIOCLEX = 0x5451;

export class KernelClient implements FileCalls {
  readonly socketPath: string;
  readonly #socket: number;
  readonly #channel: TaskChannel;
  readonly #bars = new BarMappings();
  /** Absent with a host that gives none. */
  readonly #pages: ClientPages | undefined;

  /** Connects this thread's task channel. ENOENT, ECONNREFUSED: no host listens there. */
  constructor(socketPath: string) {
    this.socketPath = socketPath;
    const { socket, hasPages } = connectTask(socketPath);
    this.#socket = socket;
    this.#pages = hasPages ? new ClientPages(socket) : undefined;
    this.#channel = new TaskChannel(socket, () => this.#pages?.calls());
  }

  registerPage(device: number): SharedPart | undefined {
    return this.#pages?.registers(device);
  }

  /** As ClientPages.interruptsLater; undefined with a host that gives no pages. */
  interruptPageLater(device: number): ReturnType<ClientPages['interruptsLater']> | undefined {
    return this.#pages?.interruptsLater(device);
  }

  /** open(2) of a path the host emulates; the fd is close-on-exec. `flags`: O_CREAT, O_EXCL. */
  open(path: string, flags = 0): number {
    return openFile(this.socketPath, { open: path, ...(flags === 0 ? {} : { flags }) });
  }

  /** ftruncate(2) of a file of pkernfs: EBUSY, EINVAL, ENOSPC. */
  ftruncate(fd: number, length: number): void {
    this.#channel.request({ op: 'ftruncate', fd, length }, 'ftruncate');
  }

  /** unlinkat(2): ENOENT, EBUSY. */
  unlinkat(fd: number, name: string): void {
    this.#channel.request({ op: 'unlinkat', fd, name }, `unlink ${name}`);
  }

  /** The entries of the directory `fd`. */
  getdents(fd: number): readonly PkernfsEntry[] {
    return this.#channel.request({ op: 'getdents', fd }, 'getdents').reply as readonly PkernfsEntry[];
  }

  /** The memory object that mmap(2) of `length` bytes of a file of pkernfs would show; a new fd. */
  memoryOf(fd: number, length: number): number {
    const call = { op: 'mmap', fd, offset: 0, length, flags: MAP_SHARED } as const;
    const { token } = this.#channel.request(call, 'mmap');
    if (token === undefined) throw eproto('the host agreed to a mapping and gave none');
    const connection = connectUnix(this.socketPath);
    try {
      return takeObject(connection, token);
    } finally {
      closeFd(connection);
    }
  }

  /**
   * ioctl(2). Where the kernel would install a fd (VFIO_GROUP_GET_DEVICE_FD), the client connects a
   * socket for it.
   */
  ioctl(fd: number, nr: number, arg: number | bigint | Uint8Array): number {
    if (nr === FIOCLEX || nr === FIONCLEX) return setFlag(fd, nr === FIOCLEX);
    const { ret, token } = this.#channel.ioctlReply(fd, nr, arg);
    return token === undefined ? ret : openFile(this.socketPath, { open: DEVICE_FD_PATH, token });
  }

  /** As TaskChannel.post. */
  post(fd: number, nr: number, arg: Uint8Array): Posted {
    return this.#channel.post(fd, nr, arg);
  }

  /** As TaskChannel.postAll. */
  postAll(fd: number, nr: number, args: Uint8Array, size: number): Posted {
    return this.#channel.postAll(fd, nr, args, size);
  }

  ioctls(fd: number, nr: number, args: Uint8Array, size: number): void {
    this.#channel.ioctls(fd, nr, args, size);
  }

  pread(fd: number, offset: number | bigint, into: Uint8Array): number {
    return this.#channel.pread(fd, offset, into);
  }

  pwrite(fd: number, offset: number | bigint, data: Uint8Array): number {
    return this.#channel.pwrite(fd, offset, data);
  }

  /**
   * execve(2) by this thread. It returns only by throwing its errno. The kernel is told which task
   * makes it (ACC-7).
   */
  execve(path: string, argv: readonly string[], env: Readonly<Record<string, string | undefined>>): never {
    this.#channel.request({ op: 'exec' }, 'execve');
    return execve(path, argv, env);
  }

  /** close(2). When it returns, the kernel has released every object without another reference. */
  close(fd: number): void {
    closeFd(fd);
    this.#closed(fd);
  }

  /** As close(), but the number stays: from here on it is a copy of what `by` opens (dup3(2)). */
  replace(fd: number, by: () => number): void {
    const other = by();
    dupTo(other, fd);
    closeFd(other);
    this.#closed(fd);
  }

  #closed(fd: number): void {
    this.#pages?.forget(fd);
    this.#channel.request({ op: 'sync' }, 'close');
  }

  /**
   * mmap(2) of a device fd; returns the vaddr. Loads and stores of registers go through
   * mappedBar().
   */
  mmap(options: MmapOptions): number {
    const { fd, offset, length, flags } = options;
    const { token, mapping } = this.#channel.request({ op: 'mmap', fd, offset, length, flags }, 'mmap');
    if (token === undefined || mapping === undefined) throw eproto('the host agreed to a mapping and gave none');
    const { offset: objectOffset, registers } = mapping;
    return this.#bars.add(connectUnix(this.socketPath), token, { ...options, objectOffset, registers });
  }

  /**
   * munmap(2) of pages that this client has mapped by mmap(). When it returns, the kernel has
   * released what the pages held (CORE-9).
   */
  munmap(vaddr: number, length: number): void {
    if (this.#bars.unmap(vaddr, length)) this.#channel.request({ op: 'sync' }, 'munmap');
  }

  /** The mapped BAR at a vaddr, if there is one. */
  mappedBar(vaddr: number): MappedBar | undefined {
    return this.#bars.at(vaddr);
  }

  /**
   * Makes a request on a fd of the control device (CONTROL_PATH). EPERM, EINVAL, ENODEV: as the
   * request says.
   */
  control<R extends ControlRequest>(fd: number, request: R): ControlReplies[R['op']] {
    return this.#channel.request({ op: 'control', fd, request }, request.op).reply as ControlReplies[R['op']];
  }

  /** Blocks until the kernel has hung up, as it does at its end. ETIMEDOUT. */
  awaitHangUp(timeoutMs: number): void {
    if (poll([{ fd: this.#socket, events: POLLIN }], timeoutMs) === undefined) {
      throw etimedout(`the kernel at ${this.socketPath} has not ended after ${timeoutMs} ms`);
    }
  }

  /** Closes the task channel. Open files stay. */
  disconnect(): void {
    closeFd(this.#socket);
  }
}

function setFlag(fd: number, on: boolean): number {
  setCloexec(fd, on);
  return 0;
}

/** A connection that has said its hello. The fd is close-on-exec. */
interface Connected {
  readonly socket: number;
  /** The host gives call pages. */
  readonly hasPages: boolean;
}

/** Connects a task channel and says its hello. */
export function connectTask(socketPath: string): Connected {
  return connectWithHello(socketPath, 'task', () => ({ task: gettid() }));
}

function openFile(socketPath: string, hello: Omit<OpenHello, 'fd'>): number {
  return connectWithHello(socketPath, `open ${hello.open}`, (fd) => ({ ...hello, fd })).socket;
}

function connectWithHello(socketPath: string, what: string, hello: (fd: number) => OpenHello | TaskHello): Connected {
  const fd = connectUnix(socketPath);
  try {
    // This comes before the hello, because the kernel looks into our address space when it gets the
    // hello. It is needed again after every execve.
    allowPtraceBy(peerCredentials(fd).pid);
    const { pages = false } = new Conversation(fd).ask(hello(fd), what);
    return { socket: fd, hasPages: pages };
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}
