/** ioctl(2) of VFIO's numbers. */
import { offsetInObject, offsetOfPlace } from '../../../iommu/abi/device-object.ts';
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
import { MAX_TRANSFER, type Reply, type Request } from '../../../iommu/abi/wire.ts';
import { MAP_SHARED } from '../../../platform/libc/mmap.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { viewOf } from '../../../platform/struct.ts';
import { claimDevice, resultOf } from './files.ts';
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

export interface IoctlOptions {
  /** Where the host listens. */
  readonly socketPath: string;
  /** BARs without bytes can be mapped, too. */
  readonly mapRegisters: boolean;
}

export function* ioctl({ socketPath, mapRegisters }: IoctlOptions, call: Call, pid: () => number): Steps {
  const fd = intArg(call, 0);
  const nr = Number(BigInt.asUintN(32, call.args[1]!));
  const vaddr = call.args[2]!;
  const arg = BY_VALUE.has(nr) ? vaddr : argument(call, nr, vaddr);
  const reply = yield { op: 'ioctl', fd, nr, arg, ...(call.notes ? { named: true } : {}) };
  if (reply.foreign) return 'go on';
  // VFIO opens it close-on-exec
  if (reply.token !== undefined) return { fd: claimDevice(socketPath, reply.token, pid()), cloexec: true };
  if (reply.out) {
    const isRegion = nr === VFIO_DEVICE_GET_REGION_INFO && reply.ret >= 0 && reply.out.length >= RegionInfo.size;
    call.memory.write(vaddr, isRegion ? yield* placed(fd, reply.out, mapRegisters) : reply.out);
  }
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
    DeviceIoeventfd.write(view, { offset: offsetOfPlace(DeviceIoeventfd.read(view).offset) });
  }
  return bytes;
}

function sizeOf(nr: number): number {
  if (nr === VFIO_GROUP_SET_CONTAINER) return INT_BYTES;
  return nr === VFIO_GROUP_GET_DEVICE_FD ? NAME_BYTES : STRUCT_BYTES;
}

/**
 * A struct vfio_region_info as the program gets it: the offset is the region's place in the
 * device's object. DEVIATION: without --map-registers a BAR of registers has no mmap flag; programs
 * read and write it.
 */
function* placed(fd: number, info: Uint8Array, mapRegisters: boolean): Generator<Request, Uint8Array, Reply> {
  const bytes = info.slice();
  const view = viewOf(bytes);
  const { offset, flags } = RegionInfo.read(view);
  const isMappable = (flags & VFIO_REGION_INFO_FLAG_MMAP) !== 0;
  const isRam = isMappable && (yield* hasBytes(fd, offset));
  const kept = isRam || mapRegisters ? flags : flags & ~VFIO_REGION_INFO_FLAG_MMAP;
  RegionInfo.write(view, { offset: offsetInObject(offset, isRam), flags: kept });
  return bytes;
}

/** Whether a mapping of the region shows memory. */
function* hasBytes(fd: number, offset: bigint): Generator<Request, boolean, Reply> {
  const { ret, mapping } = yield { op: 'mmap', fd, offset, length: PAGE_SIZE, flags: MAP_SHARED, check: true };
  return ret >= 0 && mapping?.registers === false;
}
