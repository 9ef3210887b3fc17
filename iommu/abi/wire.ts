/**
 * The messages on the host's UNIX socket, in frames of platform/frames.ts (msgpack maps).
 *
 * A **file connection** is one open file. Its first frame says which file is opened. Nothing else
 * is ever sent on it, and its end of file is the last close. So dup, fork, exec, FD_CLOEXEC,
 * SCM_RIGHTS and the death of a process work as on Linux, because Linux itself does them. The
 * file's identity is the inode of the client's end of the socket. The kernel finds that inode
 * behind `/proc/<pid>/fd/<n>`, both at open and for every fd number in a later request.
 *
 * A **task channel** is one thread of a client that enters the kernel. After its hello it is
 * strictly request → reply. A request that sleeps holds up its own thread only. One request may be
 * a loop of one ioctl over an array, which saves a round trip for each.
 */
import { eproto } from '../../platform/errno.ts';

export const VFIO_CONTAINER_PATH = '/dev/vfio/vfio';
/** /dev/vfio/<group number> */
export const VFIO_GROUP_DIR = '/dev/vfio/';
/** The control device: facts about the host, and defects to inject. */
export const CONTROL_PATH = '/dev/livevmm';
/** Directory of the files that outlive the kernel, on a host that has such memory. */
export const PKERNFS_PATH = '/dev/pkernfs';
/** Path of the connection that becomes a device fd. `token` comes from VFIO_GROUP_GET_DEVICE_FD. */
export const DEVICE_FD_PATH = 'anon:vfio-device';

/**
 * Path of the connection that holds a mapping. `token` comes from an mmap. The object comes with
 * the answer, by SCM_RIGHTS.
 */
export const MAPPING_PATH = 'anon:mapping';

/**
 * First frame of a file connection. `fd` is the number of this very socket in the peer. Answer:
 * Reply.
 */
export interface OpenHello {
  readonly open: string;
  readonly fd: number;
  readonly token?: number;
  /** O_CREAT, O_EXCL; they mean something below PKERNFS_PATH only. Default 0. */
  readonly flags?: number;
  /** The process that opens the file, if that is not the peer (see TaskHello). */
  readonly pid?: number;
  /**
   * The client takes a memory object as the open file, where there can be one (device-object.ts).
   * It then comes with the answer, by SCM_RIGHTS, and this connection ends.
   */
  readonly object?: boolean;
}

/**
 * First frame of a task channel, which must be closed on exec. Answer: Reply with the host's `pid`.
 * On −EACCES the client may name that pid by prctl(PR_SET_PTRACER) and connect again.
 *
 * A supervisor enters the kernel for threads of other processes: it names the process. EPERM unless
 * the peer is root or that process has the peer's uid only. Both numbers are then those of the
 * host's PID namespace, which the peer must share (EPERM).
 */
export interface TaskHello {
  /** tid of the thread that will use this channel, as its process knows it. */
  readonly task: number;
  /** The thread's process, if that is not the peer. */
  readonly pid?: number;
}

export type Hello = OpenHello | TaskHello;

/**
 * ioctl(2). An `arg` of bytes is the memory at the caller's pointer, from its first byte to the
 * last accessible one. A struct that is cut short is −EFAULT, as copy_from_user says. An `arg` that
 * is a number is an argument by value, or a pointer to nothing.
 */
export interface IoctlCall {
  readonly nr: number;
  readonly arg: number | bigint | Uint8Array;
}

export interface IoctlRequest extends IoctlCall {
  readonly op: 'ioctl';
  readonly fd: number;
  /** Whether the answer names the call even when it succeeds. */
  readonly named?: boolean;
}

/**
 * `ioctl(fd, nr, &args[i])` for each struct of `size` bytes in the array `args`, in order up to the
 * first that fails. In the answer, `ret` is 0 or the −errno of the call that failed, and `done` is
 * the number of calls that succeeded. `out` is the array, if any call wrote to it. At most
 * MAX_BATCH structs.
 */
export interface IoctlsRequest {
  readonly op: 'ioctls';
  readonly fd: number;
  readonly nr: number;
  readonly size: number;
  readonly args: Uint8Array;
}

export interface PreadRequest {
  readonly op: 'pread';
  readonly fd: number;
  readonly offset: number | bigint;
  readonly length: number;
}

export interface PwriteRequest {
  readonly op: 'pwrite';
  readonly fd: number;
  readonly offset: number | bigint;
  readonly data: Uint8Array;
}

/**
 * mmap(2). The kernel only checks the call and answers with a token. The client opens the mapping's
 * file with that token, gets the object by SCM_RIGHTS and maps it. It closes the file with munmap.
 */
export interface MmapCall {
  readonly op: 'mmap';
  readonly fd: number;
  readonly offset: number | bigint;
  readonly length: number;
  /** MAP_SHARED or MAP_PRIVATE. */
  readonly flags: number;
  /** The client maps by itself and only asks: there is no token, and nothing to close. */
  readonly check?: boolean;
}

/** ftruncate(2). */
export interface FtruncateRequest {
  readonly op: 'ftruncate';
  readonly fd: number;
  readonly length: number;
}

/** unlinkat(2) of a name in the directory `fd`. */
export interface UnlinkatRequest {
  readonly op: 'unlinkat';
  readonly fd: number;
  readonly name: string;
}

/** getdents(2) of a directory, all at once. The answer's `reply` is PkernfsEntry[]. */
export interface GetdentsRequest {
  readonly op: 'getdents';
  readonly fd: number;
}

export interface PkernfsEntry {
  readonly name: string;
  readonly kind: 'free' | 'data' | 'domain' | 'root' | 'container';
  /** Bytes. */
  readonly size: number;
  /** Devices can reach it, or a container has it: it cannot be changed. */
  readonly frozen: boolean;
}

/**
 * A client sends this after a local close(2). The answer comes when every file that has no
 * reference left is released.
 */
export interface SyncRequest {
  readonly op: 'sync';
}

/**
 * This thread is about to execve(2). A thread sends this if it is not the leader of its process: it
 * will take the leader's place (ACC-7), and nothing in /proc would tell. Any other request of the
 * thread says that the execve has failed.
 */
export interface ExecRequest {
  readonly op: 'exec';
}

/**
 * Asks for a call page (call-page.ts): the object comes with the answer, by SCM_RIGHTS. From here
 * on the client sends a `sync` after each close(2), dup2(2) or dup3(2) by any of its threads: what
 * its fds mean is remembered until then. Its process also stays in its user namespace, which Linux
 * lets no process of several threads leave (user_namespaces(7)); Node always has several. A
 * supervisor promises nothing for another process, which is looked at anew at each call. EBUSY: the
 * channel has a page.
 */
export interface PageRequest {
  readonly op: 'page';
}

/**
 * Asks for a register page of a device (register-page.ts): the object comes with the answer, by
 * SCM_RIGHTS. It is taken away when the channel ends, and with the last close of the device.
 * ENODEV: the device has no registers that a page can show; ENOSPC: it has no more pages.
 */
export interface RegistersRequest {
  readonly op: 'registers';
  readonly fd: number;
}

/**
 * Asks for an interrupt page of a device (interrupt-page.ts): the object comes with the answer, by
 * SCM_RIGHTS. From here on the device's messages (MSI, MSI-X) that have an eventfd are posted there
 * while the page says that a thread takes them. A device has one page: an earlier one, of whichever
 * channel, gets nothing more. It is taken away when the channel ends, and with the last close of
 * the device. ENODEV: no messages.
 */
export interface InterruptsRequest {
  readonly op: 'interrupts';
  readonly fd: number;
}

/** A typed request on an fd of CONTROL_PATH; the answer is in `reply`. */
export interface ControlCall {
  readonly op: 'control';
  readonly fd: number;
  /** A ControlRequest, which control.ts parses. */
  readonly request: object;
}

/**
 * A load of the CPU at a vaddr of the caller where a device's object is mapped and has no bytes:
 * the answer's `out`. EFAULT: no such mapping; EIO: a bus error.
 */
export interface LoadRequest {
  readonly op: 'load';
  readonly vaddr: number;
  readonly length: number;
}

/** A store; as LoadRequest. */
export interface StoreRequest {
  readonly op: 'store';
  readonly vaddr: number;
  readonly data: Uint8Array;
}

/** An access to mapped registers. */
export type AccessRequest = LoadRequest | StoreRequest;

/** Requests that are on no file. */
export type TaskRequest = SyncRequest | ExecRequest | AccessRequest;
export type FileRequest =
  | IoctlRequest
  | IoctlsRequest
  | PreadRequest
  | PwriteRequest
  | MmapCall
  | FtruncateRequest
  | UnlinkatRequest
  | GetdentsRequest
  | ControlCall;
/** The system calls. */
export type CallRequest = TaskRequest | FileRequest;
/** Requests that are answered with a page of shared memory. */
export type SharingRequest = PageRequest | RegistersRequest | InterruptsRequest;
export type Request = CallRequest | SharingRequest;

export interface Reply {
  /** What the system call returns: ≥ 0, or −errno. */
  readonly ret: number;
  /** ioctl: bytes written at the argument's start (up to the last one written). pread: the data. */
  readonly out?: Uint8Array;
  /** ioctls: how many of the calls have succeeded. */
  readonly done?: number;
  /** VFIO_GROUP_GET_DEVICE_FD: the token for DEVICE_FD_PATH. mmap: the token for MAPPING_PATH. */
  readonly token?: number;
  /**
   * mmap: the offset in the object. With `registers` the object is empty (open-file.ts:
   * MappedFile).
   */
  readonly mapping?: { readonly offset: number; readonly registers: boolean };
  /** TaskHello: the host's pid. */
  readonly pid?: number;
  /** TaskHello: the host knows PageRequest. A host of 0.2.0 or before closes the channel on one. */
  readonly pages?: boolean;
  /** ControlCall, getdents: the answer. The request determines its type. */
  readonly reply?: unknown;
  /**
   * With a negative ret: the kernel's words, for people (a real kernel would say them in its log).
   */
  readonly message?: string;
  /** ioctl with a negative ret, or `named`: the name of the call. */
  readonly call?: string;
  /** With a negative ret: the fd is open, and no file of this host. */
  readonly foreign?: boolean;
}

/**
 * The most bytes that a single pread or pwrite moves, so that one request cannot hold the kernel
 * for long. A client that sends a longer frame breaks the protocol.
 */
export const MAX_TRANSFER = 1 << 20;

/** The most ioctls in one request: about 5 ms of the kernel's thread. */
export const MAX_BATCH = 1024;

type Fields = Readonly<Record<string, unknown>>;

const isFd = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) === (value as number) << 0;
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** Any value a 64-bit register can hold. */
function isLong(value: unknown): value is number | bigint {
  if (typeof value === 'bigint') return value >= -(1n << 63n) && value < 1n << 64n;
  return Number.isSafeInteger(value);
}

function fieldsOf(value: unknown): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw eproto('frame is not a map');
  return value as Fields;
}

/** The first frame of a connection. EPROTO for anything else. */
export function parseHello(value: unknown): Hello {
  const { open, fd, token, flags, task, pid, object } = fieldsOf(value);
  if (pid !== undefined && !isCount(pid)) throw eproto('bad pid');
  const behalf = pid === undefined ? {} : { pid };
  if (isCount(task)) return { task, ...behalf };
  if (typeof open !== 'string' || !isFd(fd)) throw eproto('connection does not start with a hello');
  if (flags !== undefined && !isCount(flags)) throw eproto('bad flags');
  const asked = { ...(flags === undefined ? {} : { flags }), ...(object === true ? { object } : {}) };
  const opening = { open, fd, ...behalf, ...asked };
  if (token === undefined) return opening;
  if (!isCount(token)) throw eproto('bad token');
  return { ...opening, token };
}

const isIoctl = (fields: Fields): fields is Fields & IoctlCall =>
  isCount(fields.nr) && (isLong(fields.arg) || fields.arg instanceof Uint8Array);

/** A whole number of structs, and not too many. */
const isIoctls = (fields: Fields): fields is Fields & Omit<IoctlsRequest, 'op' | 'fd'> =>
  isCount(fields.nr) &&
  isCount(fields.size) &&
  fields.args instanceof Uint8Array &&
  fields.args.length % fields.size === 0 &&
  fields.args.length / fields.size <= MAX_BATCH;

/** What an instruction loads or stores at once. */
const MAX_ACCESS = 64;

function parseAccess({ op, vaddr, length, data }: Fields): AccessRequest {
  if (isCount(vaddr)) {
    if (op === 'load' && isCount(length) && length > 0 && length <= MAX_ACCESS) return { op, vaddr, length };
    if (op === 'store' && data instanceof Uint8Array && data.length > 0 && data.length <= MAX_ACCESS) {
      return { op, vaddr, data };
    }
  }
  throw eproto(`malformed ${String(op)}`);
}

/** A request on a task channel. EPROTO for anything else. */
export function parseRequest(value: unknown): Request {
  const request = fieldsOf(value);
  if (request.op === 'sync' || request.op === 'exec' || request.op === 'page') return { op: request.op };
  if (request.op === 'load' || request.op === 'store') return parseAccess(request);
  if (!isFd(request.fd)) throw eproto('request without a fd');
  const { fd, offset, length, data, flags } = request;
  switch (request.op) {
    case 'ioctl':
      if (!isIoctl(request)) break;
      return { op: 'ioctl', fd, nr: request.nr, arg: request.arg, ...(request.named === true ? { named: true } : {}) };
    case 'ioctls':
      if (!isIoctls(request)) break;
      return { op: 'ioctls', fd, nr: request.nr, size: request.size, args: request.args };
    case 'pread':
      if (!isLong(offset) || !isCount(length)) break;
      return { op: 'pread', fd, offset, length };
    case 'pwrite':
      if (!isLong(offset) || !(data instanceof Uint8Array)) break;
      return { op: 'pwrite', fd, offset, data };
    case 'mmap':
      if (!isLong(offset) || !isCount(length) || !isCount(flags)) break;
      return { op: 'mmap', fd, offset, length, flags, ...(request.check === true ? { check: true } : {}) };
    case 'ftruncate':
      if (!isCount(length)) break;
      return { op: 'ftruncate', fd, length };
    case 'unlinkat':
      if (typeof request.name !== 'string') break;
      return { op: 'unlinkat', fd, name: request.name };
    case 'getdents':
      return { op: 'getdents', fd };
    case 'registers':
    case 'interrupts':
      return { op: request.op, fd };
    case 'control':
      return { op: 'control', fd, request: fieldsOf(request.request) };
  }
  throw eproto('malformed request');
}
