/** System calls on files of the emulated kernel: open, ioctl, and reads and writes of regions. */
import {
  DeviceIoeventfd,
  RegionInfo,
  VFIO_CHECK_EXTENSION,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_IOEVENTFD,
  VFIO_DEVICE_RESET,
  VFIO_GET_API_VERSION,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_SET_IOMMU,
} from '../../../iommu/abi/vfio.ts';
import { DEVICE_FD_PATH, MAX_TRANSFER, type OpenHello, type Reply } from '../../../iommu/abi/wire.ts';
import { efault, einval, eopnotsupp, errnoName, SysError } from '../../../platform/errno.ts';
import { close } from '../../../platform/libc/fd.ts';
import { connectUnix } from '../../../platform/libc/unix-socket.ts';
import { viewOf } from '../../../platform/struct.ts';
import { Conversation } from '../../../vmm/client/task-channel.ts';
import { marked, unmarked } from '../filter/mark.ts';
import { type Call, intArg, type Steps } from './steps.ts';

/** The numbers that mean a value, whatever kind of file they are used on. */
const BY_VALUE = new Set([
  ...[VFIO_GET_API_VERSION, VFIO_CHECK_EXTENSION, VFIO_SET_IOMMU, VFIO_GROUP_UNSET_CONTAINER, VFIO_DEVICE_RESET],
]);
const INT_BYTES = 4;
/** A device's name is far shorter. */
const NAME_BYTES = 256;
/** All structs without what follows them. */
const STRUCT_BYTES = 256;
const RWF_HIPRI = 1;
const IOV_MAX = 1024;
const IOVEC_BYTES = 16;

/** The connection that becomes the program's open file. Throws the kernel's errno. */
export function connectFile(socketPath: string, hello: Omit<OpenHello, 'fd'>): number {
  const fd = connectUnix(socketPath);
  try {
    new Conversation(fd).ask({ ...hello, fd }, `open ${hello.open}`);
  } catch (error) {
    close(fd);
    throw error;
  }
  return fd;
}

/** The result of a reply; the errno of a refusal is thrown. */
function resultOf({ ret, message }: Reply): number {
  if (ret < 0) throw new SysError(errnoName(-ret), message ?? 'refused');
  return ret;
}

/** open(2) of a node of the emulated kernel, by a thread of process `pid`. */
export function* openNode(socketPath: string, path: string, pid: number, cloexec: boolean): Steps {
  yield { op: 'sync' }; // what the process has closed before is released
  return { fd: connectFile(socketPath, { open: path, pid }), cloexec };
}

/** ioctl(2) of a number of VFIO's. */
export function* ioctl(socketPath: string, call: Call, pid: () => number): Steps {
  const fd = intArg(call, 0);
  const nr = Number(BigInt.asUintN(32, call.args[1]!));
  const vaddr = call.args[2]!;
  const arg = BY_VALUE.has(nr) ? vaddr : argument(call, nr, vaddr);
  const reply = yield { op: 'ioctl', fd, nr, arg, ...(call.notes ? { named: true } : {}) };
  if (reply.foreign) return 'go on';
  if (reply.token !== undefined) {
    // VFIO opens it close-on-exec
    return { fd: connectFile(socketPath, { open: DEVICE_FD_PATH, token: reply.token, pid: pid() }), cloexec: true };
  }
  if (reply.out) call.memory.write(vaddr, adapted(nr, reply.ret, reply.out));
  return resultOf(reply);
}

/** The memory at an ioctl's pointer; the pointer itself where there is none. */
function argument({ memory }: Call, nr: number, vaddr: bigint): Uint8Array | bigint {
  let bytes = memory.read(vaddr, sizeOf(nr));
  const argsz = nr === VFIO_GROUP_SET_CONTAINER || bytes.length < INT_BYTES ? 0 : viewOf(bytes).getUint32(0, true);
  if (nr !== VFIO_GROUP_GET_DEVICE_FD && argsz > bytes.length && bytes.length === STRUCT_BYTES) {
    bytes = memory.read(vaddr, Math.min(argsz, MAX_TRANSFER));
  }
  if (bytes.length === 0) return vaddr;
  if (nr === VFIO_DEVICE_IOEVENTFD && bytes.length >= DeviceIoeventfd.size) {
    const view = viewOf(bytes);
    DeviceIoeventfd.write(view, { offset: unmarked(DeviceIoeventfd.read(view).offset) });
  }
  return bytes;
}

function sizeOf(nr: number): number {
  if (nr === VFIO_GROUP_SET_CONTAINER) return INT_BYTES;
  return nr === VFIO_GROUP_GET_DEVICE_FD ? NAME_BYTES : STRUCT_BYTES;
}

/**
 * What goes back to the program. Offsets of regions get their mark. DEVIATION: a region has no
 * mmap flag; programs read and write it.
 */
function adapted(nr: number, ret: number, out: Uint8Array): Uint8Array {
  if (nr !== VFIO_DEVICE_GET_REGION_INFO || ret < 0 || out.length < RegionInfo.size) return out;
  const bytes = out.slice();
  const view = viewOf(bytes);
  const { offset, flags } = RegionInfo.read(view);
  RegionInfo.write(view, { offset: marked(offset), flags: flags & ~VFIO_REGION_INFO_FLAG_MMAP });
  return bytes;
}

/** pread64(2) with a marked offset. */
export function* pread(call: Call): Steps {
  const [, vaddr, count, offset] = call.args as [bigint, bigint, bigint, bigint];
  return yield* readRegion(call, { vaddr, length: cut(count) }, offset);
}

/** pwrite64(2) with a marked offset. */
export function* pwrite(call: Call): Steps {
  const [, vaddr, count, offset] = call.args as [bigint, bigint, bigint, bigint];
  return yield* writeRegion(call, { vaddr, length: cut(count) }, offset);
}

/** Memory of the program that a region is read into or written from. */
interface Piece {
  readonly vaddr: bigint;
  readonly length: number;
}

const cut = (count: bigint): number => (count > BigInt(MAX_TRANSFER) ? MAX_TRANSFER : Number(count));

function* readRegion(call: Call, { vaddr, length }: Piece, offset: bigint): Steps {
  const reply = yield { op: 'pread', fd: intArg(call, 0), offset: unmarked(offset), length };
  if (reply.foreign) return 'go on';
  if (reply.ret > 0 && reply.out) call.memory.write(vaddr, reply.out);
  return resultOf(reply);
}

function* writeRegion(call: Call, { vaddr, length }: Piece, offset: bigint): Steps {
  const data = call.memory.read(vaddr, length);
  if (data.length === 0 && length > 0) throw efault('cannot read what is to be written');
  const reply = yield { op: 'pwrite', fd: intArg(call, 0), offset: unmarked(offset), data };
  return reply.foreign ? 'go on' : resultOf(reply);
}

/** preadv(2), pwritev(2), and their second versions. */
export function* vectored(call: Call, transfer: typeof readRegion, hasFlags: boolean): Steps {
  const [, iov, count, offset, , flags] = call.args as readonly bigint[] as [
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
  ];
  const pieces = piecesOf(call, iov, count);
  // do_loop_readv_writev: a file without read_iter and write_iter knows no flags but RWF_HIPRI
  if (hasFlags && (BigInt.asUintN(32, flags) & ~BigInt(RWF_HIPRI)) !== 0n) throw eopnotsupp('flags of a vectored call');
  let total = 0;
  for (const piece of pieces) {
    let moved: Awaited<ReturnType<Steps['next']>>['value'];
    try {
      moved = yield* transfer(call, piece, offset + BigInt(total));
    } catch (error) {
      if (total > 0 && error instanceof SysError) return total;
      throw error;
    }
    if (typeof moved !== 'number') return 'go on';
    total += moved;
    if (moved < piece.length) break;
  }
  return total;
}

export const readvRegion = (call: Call, hasFlags: boolean): Steps => vectored(call, readRegion, hasFlags);
export const writevRegion = (call: Call, hasFlags: boolean): Steps => vectored(call, writeRegion, hasFlags);

/** import_iovec: EINVAL for more than UIO_MAXIOV of them, EFAULT where they cannot be read. */
function piecesOf({ memory }: Call, iov: bigint, count: bigint): Piece[] {
  if (count > BigInt(IOV_MAX)) throw einval(`${count} iovecs`);
  const bytes = memory.read(iov, IOVEC_BYTES * Number(count));
  if (bytes.length < IOVEC_BYTES * Number(count)) throw efault('iovecs');
  const view = viewOf(bytes);
  return Array.from({ length: Number(count) }, (_, i) => {
    const length = view.getBigInt64(IOVEC_BYTES * i + 8, true);
    if (length < 0n) throw einval('an iovec of negative length');
    return { vaddr: view.getBigUint64(IOVEC_BYTES * i, true), length: cut(BigInt(length)) };
  });
}
