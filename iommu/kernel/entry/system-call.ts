/**
 * A system call on an open file. It leads from a Request to a Reply, in Linux's order of checks.
 */
import { readlinkSync } from 'node:fs';
import { ebadf, einval, enodev, enotty, eoverflow, SysError } from '../../../platform/errno.ts';
import { eventfdId, isEventfd } from '../../../platform/eventfd-watch.ts';
import { hex } from '../../../platform/hex.ts';
import { close } from '../../../platform/libc/fd.ts';
import { MAP_SHARED } from '../../../platform/libc/mmap.ts';
import { pidfdGetfd } from '../../../platform/libc/other-process.ts';
import { PAGE_SIZE, wholePages } from '../../../platform/page.ts';
import { socketInode } from '../../../platform/process.ts';
import { parseControlRequest } from '../../abi/control.ts';
import { type CallRequest, type FileRequest, MAX_TRANSFER, type MmapCall, type Reply } from '../../abi/wire.ts';
import { type Caller, type ClientEventfd, type FileOperations, OpenFile } from '../core/open-file.ts';
import type { Task } from '../core/task.ts';
import { U64_END } from '../core/user-arg.ts';
import type { FileTable } from './file-table.ts';
import { errorReply, ioctl, ioctls } from './ioctl-call.ts';
import { access, registersAt } from './mapped-access.ts';
import { readFile, writeFile } from './transfer.ts';

/** A system call's caller while the call lasts. */
export class SystemCall implements Caller {
  readonly task: Task;
  readonly #files: FileTable;
  readonly #remembers: boolean;
  #thisFile: OpenFile | undefined;
  #installed: OpenFile | undefined;

  /** `remembers`: the process tells when its fds change, so they are not looked up each time. */
  constructor(task: Task, files: FileTable, remembers = false) {
    this.task = task;
    this.#files = files;
    this.#remembers = remembers;
  }

  get thisFile(): OpenFile {
    if (!this.#thisFile) throw new Error('no call is under way');
    return this.#thisFile;
  }

  file(fd: number): OpenFile | undefined {
    const known = this.#remembers ? this.#files.remembered(this.task.pid, fd) : undefined;
    if (known) return known;
    const inode = fd >= 0 ? socketInode(this.task.pid, fd) : undefined;
    const file = inode === undefined ? this.#files.findObject(this.task.pid, fd) : this.#files.find(inode);
    if (!file && !isOpen(this.task.pid, fd)) throw ebadf(`fd ${fd} is not open`);
    if (file && this.#remembers) this.#files.remember(this.task.pid, fd, inode!);
    return file;
  }

  eventfd(fd: number): number {
    if (fd < 0) throw ebadf(`fd ${fd}`);
    const copy = pidfdGetfd(this.task.process.pidfd, fd);
    if (isEventfd(copy)) return copy;
    close(copy);
    throw einval(`fd ${fd} is not an eventfd`);
  }

  eventfdToWatch(fd: number): ClientEventfd {
    const { process } = this.task;
    const copy = this.eventfd(fd);
    const id = eventfdId(copy);
    const again = (): number | undefined => {
      const now = process.duplicate(fd);
      if (now === undefined || (isEventfd(now) && eventfdId(now) === id)) return now;
      close(now);
      return undefined;
    };
    return { fd: copy, again };
  }

  install(operations: FileOperations): void {
    this.#installed = new OpenFile(operations);
  }

  /** The file that install() left. The caller of this method owns the file's reference. */
  takeInstalled(): OpenFile | undefined {
    const file = this.#installed;
    this.#installed = undefined;
    return file;
  }

  dropInstalled(): boolean {
    const file = this.takeInstalled();
    if (file) this.#files.drop({ file, pid: this.task.pid });
    return file !== undefined;
  }

  /** Carries out `request`. An error of the call rejects the promise or is thrown here. */
  run(request: CallRequest): Reply | Promise<Reply> {
    this.task.process.entered(this.task.tid, request.op === 'exec');
    if (request.op === 'exec') return { ret: 0 };
    if (request.op === 'sync') this.#files.forget(this.task.pid);
    if (request.op === 'sync') return this.#files.releasing(this.task.pid)?.then(() => ({ ret: 0 })) ?? { ret: 0 };
    if (request.op === 'load' || request.op === 'store') {
      const { file, at } = registersAt(request, this.#files, this.task);
      return this.#on(file, () => access(request, file.operations, at, this));
    }
    const file = this.file(request.fd);
    if (!file) return { ...errorReply(einval(`fd ${request.fd} is no file of this host`)), foreign: true };
    return this.#on(file, () => perform(request, file.operations, this));
  }

  /** The file stays open during `work`: a close(2) by another thread takes effect afterwards. */
  #on(file: OpenFile, work: () => Reply | Promise<Reply>): Reply | Promise<Reply> {
    this.#thisFile = file;
    file.get();
    let reply: Reply | Promise<Reply>;
    try {
      reply = work();
    } catch (error) {
      file.put();
      throw error;
    }
    if (!(reply instanceof Promise)) {
      file.put();
      return reply;
    }
    const { pid } = this.task;
    const call = reply.finally(() => this.#files.drop({ file, pid }));
    this.#files.goesOn(call);
    return call;
  }
}

function isOpen(pid: number, fd: number): boolean {
  try {
    readlinkSync(`/proc/${pid}/fd/${fd}`);
    return true;
  } catch {
    return false; // no such link: not open, or the process is gone
  }
}

function perform(request: FileRequest, operations: FileOperations, caller: SystemCall): Reply | Promise<Reply> {
  switch (request.op) {
    case 'ioctl':
      return ioctl(operations, request, caller);
    case 'ioctls':
      return ioctls(operations, request, caller);
    case 'pread': {
      const offset = fileOffset(request.offset);
      if (!operations.pread) throw einval(`${operations.name} cannot be read`);
      if (request.length === 0) return { ret: 0 };
      const length = Math.min(request.length, MAX_TRANSFER);
      const out = readFile(operations.pread.bind(operations), { offset, length, task: caller.task });
      return out instanceof Promise ? out.then(readReply) : readReply(out);
    }
    case 'pwrite': {
      const offset = fileOffset(request.offset);
      if (!operations.pwrite) throw einval(`${operations.name} cannot be written`);
      if (request.data.length === 0) return { ret: 0 };
      const data = request.data.subarray(0, MAX_TRANSFER);
      const ret = writeFile(operations.pwrite.bind(operations), data, { offset, task: caller.task });
      return ret instanceof Promise ? ret.then((done) => ({ ret: done })) : { ret };
    }
    case 'mmap':
      return mmap(operations, request, caller);
    case 'ftruncate':
      if (!operations.ftruncate) throw einval(`${operations.name} has no size`);
      operations.ftruncate(request.length);
      return { ret: 0 };
    case 'unlinkat':
      if (!operations.unlinkat) throw enotdir(operations.name);
      operations.unlinkat(request.name);
      return { ret: 0 };
    case 'getdents':
      if (!operations.getdents) throw enotdir(operations.name);
      return { ret: 0, reply: operations.getdents() };
    case 'control':
      return control(operations, request.request);
  }
}

const enotdir = (name: string): SysError => new SysError('ENOTDIR', `${name} is no directory`);

const readReply = (out: Uint8Array): Reply => ({ ret: out.length, out });

/**
 * mmap(2) in Linux's order of checks: the offset, the length, both together, then the file's own
 * checks.
 */
function mmap(operations: FileOperations, { offset, length, flags, check }: MmapCall, caller: Caller): Reply {
  const at = BigInt.asUintN(64, BigInt(offset));
  if (at % BigInt(PAGE_SIZE) !== 0n) throw einval(`mmap at offset ${hex(at)}`);
  if (length === 0) throw einval('mmap of 0 bytes');
  const mapped = wholePages(length);
  if (at + BigInt(mapped) > U64_END) throw eoverflow(`mmap at offset ${hex(at)}`);
  if (!operations.mmap) throw enodev(`${operations.name} cannot be mapped`);
  const request = { offset: Number(at), length: mapped, shared: (flags & MAP_SHARED) !== 0 };
  const { operations: mapping, objectOffset, registers } = operations.mmap(request, caller);
  if (check) {
    mapping.release();
    // A client that maps the file's own object finds no bytes there that lie in another one.
    return {
      ret: 0,
      mapping: { offset: objectOffset, registers: registers || mapping.passesFd !== operations.object },
    };
  }
  caller.install(mapping);
  return { ret: 0, mapping: { offset: objectOffset, registers } };
}

/** A loff_t: signed 64 bits, and pread(2) refuses a negative one. */
function fileOffset(offset: number | bigint): bigint {
  const pos = BigInt.asIntN(64, BigInt(offset));
  if (pos < 0n) throw einval(`negative file offset ${pos}`);
  return pos;
}

function control(operations: FileOperations, request: object): Reply | Promise<Reply> {
  if (!operations.control) throw enotty(`${operations.name} is not the control device`);
  const reply = operations.control(parseControlRequest(request));
  return reply instanceof Promise ? reply.then((later) => ({ ret: 0, reply: later })) : { ret: 0, reply };
}
