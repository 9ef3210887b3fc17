/** System calls with an offset in a device's object: reads, writes and mmap of regions. */
import { offsetOfPlace } from '../../../iommu/abi/device-object.ts';
import { MAX_TRANSFER } from '../../../iommu/abi/wire.ts';
import { efault, einval, eopnotsupp, SysError } from '../../../platform/errno.ts';
import { viewOf } from '../../../platform/struct.ts';
import { resultOf } from './files.ts';
import { type Call, intArg, type Steps } from './steps.ts';

const RWF_HIPRI = 1;
const IOV_MAX = 1024;
const IOVEC_BYTES = 16;
/** User space is smaller (TASK_SIZE_MAX). */
const LONGEST_MAPPING = 1n << 47n;

/** pread64(2) of a region. */
export function* pread(call: Call): Steps {
  const [, vaddr, count, offset] = call.args as [bigint, bigint, bigint, bigint];
  return yield* readRegion(call, { vaddr, length: cut(count) }, offset);
}

/** pwrite64(2) of a region. */
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
  const reply = yield { op: 'pread', fd: intArg(call, 0), offset: offsetOfPlace(offset), length };
  if (reply.foreign) return 'go on';
  if (reply.ret > 0 && reply.out) call.memory.write(vaddr, reply.out);
  return resultOf(reply);
}

function* writeRegion(call: Call, { vaddr, length }: Piece, offset: bigint): Steps {
  const data = call.memory.read(vaddr, length);
  if (data.length === 0 && length > 0) throw efault('cannot read what is to be written');
  const reply = yield { op: 'pwrite', fd: intArg(call, 0), offset: offsetOfPlace(offset), data };
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

/**
 * mmap(2) of a region. The kernel checks it. The fd is the device's object, and the offset is the
 * region's place in it, so Linux makes the mapping itself. DEVIATION: EINVAL for registers, unless
 * the program has a fault handler.
 */
export function* mmap(call: Call, mapRegisters: boolean): Steps {
  const [, length, , flags, , offset] = call.args as readonly bigint[] as [
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
  ];
  if (length > LONGEST_MAPPING) return 'go on'; // ENOMEM
  const reply = yield {
    ...{ op: 'mmap', fd: intArg(call, 4), offset: offsetOfPlace(offset), length: Number(length) },
    ...{ flags: Number(BigInt.asUintN(32, flags)), check: true },
  };
  if (reply.foreign) return 'go on';
  resultOf(reply);
  if (reply.mapping?.registers && !mapRegisters) throw einval('registers cannot be mapped');
  return 'go on';
}
