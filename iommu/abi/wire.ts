/**
 * What travels on the host's UNIX socket, in frames of platform/frames.ts (msgpack maps).
 *
 * A **file connection** is one open file: its first frame says what is opened, nothing else is ever
 * sent on it, and its end of file is the last close. So dup, fork, exec, FD_CLOEXEC, SCM_RIGHTS and
 * the death of a process work as on Linux: they are Linux's. The file's identity is the inode of
 * the client's end of the socket, which the kernel finds behind `/proc/<pid>/fd/<n>` both at open
 * and for every fd number in a later request.
 *
 * A **task channel** is one thread of a client entering the kernel: after its hello, strictly
 * request → reply. A request that sleeps holds up its own thread only. A request may be a loop of
 * one ioctl over an array, which saves a round trip for each.
 */
import { eproto } from '../../platform/errno.ts';

export const VFIO_CONTAINER_PATH = '/dev/vfio/vfio';
/** /dev/vfio/<group number> */
export const VFIO_GROUP_DIR = '/dev/vfio/';
/** The control device: facts about the host, and defects to inject. */
export const CONTROL_PATH = '/dev/livevmm';
/**
 * Path of the connection that becomes a device fd; `token` is what VFIO_GROUP_GET_DEVICE_FD gave.
 */
export const DEVICE_FD_PATH = 'anon:vfio-device';

/**
 * Path of the connection that holds a mapping; `token` is what a mmap gave. With the answer comes
 * the object, by SCM_RIGHTS.
 */
export const MAPPING_PATH = 'anon:mapping';

/**
 * First frame of a file connection; `fd` is the number of this very socket in the caller. Answer:
 * Reply.
 */
export interface OpenHello {
  readonly open: string;
  readonly fd: number;
  readonly token?: number;
}

/**
 * First frame of a task channel; close it on exec. Answer: Reply with `pid`, the host's: with
 * −EACCES the client may name it by prctl(PR_SET_PTRACER) and connect again.
 */
export interface TaskHello {
  readonly task: number; // tid of the thread that will use this channel, as its process knows it
}

export type Hello = OpenHello | TaskHello;

/**
 * ioctl(2). `arg` as bytes: what the caller's pointer reaches, from its first byte to the last
 * accessible one (a struct that is cut short is −EFAULT, as copy_from_user says). As a number: an
 * argument by value, or a pointer to nothing.
 */
export interface IoctlCall {
  readonly nr: number;
  readonly arg: number | bigint | Uint8Array;
}

export interface IoctlRequest extends IoctlCall {
  readonly op: 'ioctl';
  readonly fd: number;
}

/**
 * `ioctl(fd, nr, &args[i])` for each struct of `size` bytes in the array `args`, in order up to the
 * first that fails. Answer: `ret` 0 or the −errno of the one that failed, `done`, and `out`, the
 * array, if any of them was written to. At most MAX_BATCH structs.
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
 * mmap(2), as far as the kernel has a say: the caller maps the object that the mapping's file
 * passes, and closes that with munmap.
 */
export interface MmapCall {
  readonly op: 'mmap';
  readonly fd: number;
  readonly offset: number | bigint;
  readonly length: number;
  /** MAP_SHARED or MAP_PRIVATE. */
  readonly flags: number;
}

/** Sent after a local close(2): answered when every file that has no reference left is released. */
export interface SyncRequest {
  readonly op: 'sync';
}

/**
 * This thread is about to execve(2). For one that is not the leader of its process, whose place it
 * will take (ACC-7): nothing in /proc would tell. Any other request of it says that the execve has
 * failed.
 */
export interface ExecRequest {
  readonly op: 'exec';
}

/** A typed request on an fd of CONTROL_PATH; the answer is in `reply`. */
export interface ControlCall {
  readonly op: 'control';
  readonly fd: number;
  /** A ControlRequest, which control.ts parses. */
  readonly request: object;
}

/** Requests that are on no file. */
export type TaskRequest = SyncRequest | ExecRequest;
export type FileRequest = IoctlRequest | IoctlsRequest | PreadRequest | PwriteRequest | MmapCall | ControlCall;
export type Request = TaskRequest | FileRequest;

export interface Reply {
  /** What the system call returns: ≥ 0, or −errno. */
  readonly ret: number;
  /** ioctl: bytes written at the argument's start (up to the last one written). pread: the data. */
  readonly out?: Uint8Array;
  /** ioctls: how many of the calls have succeeded. */
  readonly done?: number;
  /** VFIO_GROUP_GET_DEVICE_FD: to be given with DEVICE_FD_PATH. mmap: with MAPPING_PATH. */
  readonly token?: number;
  /** mmap: where in the object, and whether there is anything in it (open-file.ts: MappedFile). */
  readonly mapping?: { readonly offset: number; readonly registers: boolean };
  /** TaskHello: the host's pid. */
  readonly pid?: number;
  /** ControlCall: the answer, of the type that belongs to the request. */
  readonly reply?: unknown;
  /**
   * With a negative ret: the kernel's words, for people (a real kernel would say them in its log).
   */
  readonly message?: string;
  /** ioctl with a negative ret: the name of the call. */
  readonly call?: string;
}

/**
 * The most a single pread or pwrite moves, so that one request cannot hold the kernel for long.
 * Longer frames are an offence.
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
  const { open, fd, token, task } = fieldsOf(value);
  if (isCount(task)) return { task };
  if (typeof open !== 'string' || !isFd(fd)) throw eproto('connection does not start with a hello');
  if (token === undefined) return { open, fd };
  if (!isCount(token)) throw eproto('bad token');
  return { open, fd, token };
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

/** A request on a task channel. EPROTO for anything else. */
export function parseRequest(value: unknown): Request {
  const request = fieldsOf(value);
  if (request.op === 'sync' || request.op === 'exec') return { op: request.op };
  if (!isFd(request.fd)) throw eproto('request without a fd');
  const { fd, offset, length, data, flags } = request;
  switch (request.op) {
    case 'ioctl':
      if (!isIoctl(request)) break;
      return { op: 'ioctl', fd, nr: request.nr, arg: request.arg };
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
      return { op: 'mmap', fd, offset, length, flags };
    case 'control':
      return { op: 'control', fd, request: fieldsOf(request.request) };
  }
  throw eproto('malformed request');
}
