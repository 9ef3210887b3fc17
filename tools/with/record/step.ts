/** A request to the kernel and its reply as a step of a recording and its answer. */
import { offsetOfPlace } from '../../../iommu/abi/device-object.ts';
import {
  Bitmap,
  DeviceIoeventfd,
  DirtyBitmap,
  DirtyBitmapGet,
  DmaMap,
  DmaUnmap,
  IrqSet,
  PciHotReset,
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_PCI_OFFSET_SHIFT,
} from '../../../iommu/abi/vfio.ts';
import type { IoctlRequest, Reply, Request } from '../../../iommu/abi/wire.ts';
import { errnoName } from '../../../platform/errno.ts';
import { hex } from '../../../platform/hex.ts';
import { viewOf } from '../../../platform/struct.ts';
import { formatBytes, toHex } from '../../conform/notation.ts';
import { changeText, unsetStruct } from '../../conform/steps/struct-arg.ts';

/** Calls whose argument is a value: operation, and whether it has one. */
const BY_VALUE: Readonly<Record<string, readonly [op: string, hasValue: boolean]>> = {
  VFIO_GET_API_VERSION: ['api', false],
  VFIO_CHECK_EXTENSION: ['check', true],
  VFIO_SET_IOMMU: ['set_iommu', true],
  VFIO_GROUP_UNSET_CONTAINER: ['unset_container', false],
  VFIO_DEVICE_RESET: ['reset', false],
};
/** The recordings' buffers for bitmaps are no longer. */
const MAX_BITMAP = 1 << 20;

/** The words for the program's fds and memory, and its bytes. */
export interface Names {
  fd(fd: number): string;
  memory(vaddr: number, length: number): string;
  read(vaddr: number, length: number): Uint8Array;
}

export interface RecordedStep {
  readonly step: string;
  readonly answer: string;
}

/** Undefined for what the format has no step for. `newFd`: the fd that an ioctl has returned. */
export function recordedStep(request: Request, reply: Reply, names: Names, newFd?: number): RecordedStep | undefined {
  const status = reply.ret < 0 ? `-${errnoName(-reply.ret)}` : `${reply.ret}`;
  switch (request.op) {
    case 'ioctl':
      return ioctlStep(request, reply, { names, status, newFd });
    case 'pread': {
      const data = reply.out && reply.ret > 0 ? ` data=${formatBytes(reply.out)}` : '';
      return {
        step: `pread ${names.fd(request.fd)} ${placeText(request.offset)} ${request.length}`,
        answer: `${status}${data}`,
      };
    }
    case 'pwrite':
      return {
        step: `pwrite ${names.fd(request.fd)} ${placeText(request.offset)} ${toHex(request.data)}`,
        answer: status,
      };
    default:
      return undefined;
  }
}

/** `7:0x4` */
function placeText(offset: number | bigint): string {
  const at = offsetOfPlace(BigInt(offset));
  const shift = BigInt(VFIO_PCI_OFFSET_SHIFT);
  return `${at >> shift}:${hex(BigInt.asUintN(VFIO_PCI_OFFSET_SHIFT, at))}`;
}

interface Told {
  readonly names: Names;
  readonly status: string;
  readonly newFd: number | undefined;
}

function ioctlStep({ fd, nr, arg }: IoctlRequest, { out, call = '' }: Reply, told: Told): RecordedStep | undefined {
  const { names, status, newFd } = told;
  const file = names.fd(fd);
  if (!(arg instanceof Uint8Array)) {
    const known = Object.hasOwn(BY_VALUE, call) ? BY_VALUE[call] : undefined;
    const value = hex(BigInt(arg));
    const step = known ? `${known[0]} ${file}${known[1] ? ` ${value}` : ''}` : `ioctl ${file} ${hex(nr)} ${value}`;
    return { step, answer: status };
  }
  if (call === 'VFIO_GROUP_GET_DEVICE_FD') {
    const name = Buffer.from(arg).toString('latin1').split('\0', 1)[0]!;
    if (/[^!-~]/.test(name) || name === '') return undefined;
    const opened = newFd === undefined ? 'none' : names.fd(newFd);
    return { step: `device ${opened} ${file} ${name}`, answer: newFd === undefined ? status : '0' };
  }
  if (call === 'VFIO_GROUP_SET_CONTAINER') {
    if (arg.length < 4) return { step: `set_container ${file} -1 avail=${arg.length}`, answer: status };
    return { step: `set_container ${file} ${names.fd(viewOf(arg).getInt32(0, true))}`, answer: status };
  }
  const wrote = out ?? new Uint8Array(0);
  const named = Object.hasOwn(NAMED, call) ? NAMED[call]!(arg, names) : undefined;
  if (named) {
    const { op, words, bitmap, least } = named;
    const text = `${op} ${file} ${words}${arg.length < 64 ? ` avail=${arg.length}` : ''}`;
    return { step: text, answer: `${status}${changed(arg, wrote, least)}${bitmapText(bitmap, names)}` };
  }
  const length = Math.min(arg.length, Math.max(arg.length >= 4 ? viewOf(arg).getUint32(0, true) : 0, 8), 4096) & ~3;
  const bytes = arg.subarray(0, length);
  return { step: `ioctlbuf ${file} ${hex(nr)} hex=${toHex(bytes)}`, answer: `${status}${changed(bytes, wrote)}` };
}

/** The change of a struct that begins with `given` and whose start the kernel has written. */
function changed(given: Uint8Array, wrote: Uint8Array, least?: number): string {
  const before = unsetStruct();
  before.set(given.subarray(0, before.length));
  const after = before.slice();
  after.set(wrote.subarray(0, after.length));
  return changeText(before, after, least);
}

interface NamedIoctl {
  readonly op: string;
  readonly words: string;
  readonly bitmap?: BitmapPlace | undefined;
  /** Bytes that the answer shows at least, if it shows any. */
  readonly least?: number;
}

interface BitmapPlace {
  readonly vaddr: bigint;
  readonly length: number;
}

/** ` bm=…`: the bitmap, as the kernel has left it. */
const bitmapText = (bitmap: BitmapPlace | undefined, names: Names): string =>
  bitmap ? ` bm=${formatBytes(names.read(Number(bitmap.vaddr), bitmap.length))}` : '';

/** Structs with a vaddr, a bitmap or fds, which the recording has its own of. */
const NAMED: Readonly<Record<string, (arg: Uint8Array, names: Names) => NamedIoctl>> = {
  VFIO_IOMMU_MAP_DMA: mapStep,
  VFIO_IOMMU_UNMAP_DMA: unmapStep,
  VFIO_IOMMU_DIRTY_PAGES: dirtyStep,
  VFIO_DEVICE_SET_IRQS: irqsStep,
  VFIO_DEVICE_PCI_HOT_RESET: hotResetStep,
  VFIO_DEVICE_IOEVENTFD: ioeventfdStep,
};

/** `argsz=32 flags=0x3 …` */
const optionsText = (fields: Readonly<Record<string, number | bigint | string>>): string =>
  Object.entries(fields)
    .map(([key, value]) => `${key}=${typeof value === 'string' ? value : hex(value)}`)
    .join(' ');

function padded(arg: Uint8Array, size: number): DataView {
  const whole = new Uint8Array(Math.max(size, arg.length)).fill(0xee);
  whole.set(arg);
  return viewOf(whole);
}

function mapStep(arg: Uint8Array, names: Names): NamedIoctl {
  const { argsz, flags, vaddr, iova, size } = DmaMap.read(padded(arg, DmaMap.size));
  const length = size > 2n ** 47n ? 4096 : Number(size);
  const place = vaddr < 2n ** 47n ? names.memory(Number(vaddr), Math.max(length, 1)) : hex(vaddr);
  return { op: 'map', words: optionsText({ argsz, flags, vaddr: place, iova, size }), least: DmaMap.size };
}

function unmapStep(arg: Uint8Array): NamedIoctl {
  const { argsz, flags, iova, size } = DmaUnmap.read(padded(arg, DmaUnmap.size));
  const hasBitmap = (flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) !== 0 && arg.length >= DmaUnmap.size + Bitmap.size;
  const { fields, bitmap } = hasBitmap ? bitmapAt(arg, DmaUnmap.size) : { fields: {}, bitmap: undefined };
  return { op: 'unmap', words: optionsText({ argsz, flags, iova, size, ...fields }), bitmap, least: DmaUnmap.size };
}

function dirtyStep(arg: Uint8Array): NamedIoctl {
  const { argsz, flags } = DirtyBitmap.read(padded(arg, DirtyBitmap.size));
  const whole = DirtyBitmap.size + DirtyBitmapGet.size;
  if ((flags & VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP) === 0 || arg.length < whole) {
    return { op: 'dirty', words: optionsText({ argsz, flags }) };
  }
  const { iova, size } = DirtyBitmapGet.read(viewOf(arg), DirtyBitmap.size);
  const { fields, bitmap } = bitmapAt(arg, whole - Bitmap.size);
  return { op: 'dirty', words: optionsText({ argsz, flags, iova, size, ...fields }), bitmap };
}

function bitmapAt(arg: Uint8Array, at: number): { fields: Record<string, bigint | string>; bitmap?: BitmapPlace } {
  const { pgsize, size: bsize, data } = Bitmap.read(viewOf(arg), at);
  if (bsize === 0n || bsize > BigInt(MAX_BITMAP)) return { fields: { pgsize, bsize, bitmap: hex(data) } };
  const length = Number(bsize);
  return { fields: { pgsize, bsize, bitmap: `buf:${length}` }, bitmap: { vaddr: data, length } };
}

function irqsStep(arg: Uint8Array, names: Names): NamedIoctl {
  const { argsz, flags, index, start, count } = IrqSet.read(padded(arg, IrqSet.size));
  const data = arg.subarray(IrqSet.size, Math.max(IrqSet.size, argsz));
  const isFds = (flags & VFIO_IRQ_SET_DATA_EVENTFD) !== 0 && data.length > 0 && data.length % 4 === 0;
  const behind = isFds ? { fds: fdsText(data, names) } : data.length > 0 ? { data: toHex(data) } : {};
  return { op: 'set_irqs', words: optionsText({ argsz, flags, index, start, count, ...behind }) };
}

function hotResetStep(arg: Uint8Array, names: Names): NamedIoctl {
  const { argsz, flags, count } = PciHotReset.read(padded(arg, PciHotReset.size));
  const data = arg.subarray(PciHotReset.size, Math.max(PciHotReset.size, argsz));
  const fds = data.length > 0 && data.length % 4 === 0 ? { fds: fdsText(data, names) } : {};
  return { op: 'hot_reset', words: optionsText({ argsz, flags, count, ...fds }) };
}

function fdsText(data: Uint8Array, names: Names): string {
  const view = viewOf(data);
  return Array.from({ length: data.length / 4 }, (_, i) => names.fd(view.getInt32(4 * i, true))).join(',');
}

function ioeventfdStep(arg: Uint8Array, names: Names): NamedIoctl {
  const { argsz, flags, offset, data, fd } = DeviceIoeventfd.read(padded(arg, DeviceIoeventfd.size));
  const words = optionsText({ argsz, flags, offset: placeText(offset), data, fd: names.fd(fd) });
  return { op: 'ioeventfd', words };
}
