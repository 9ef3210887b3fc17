/** The arguments of VFIO's ioctls as text, in the notation of strace(1). */
import {
  Bitmap,
  DeviceFeature,
  DeviceInfo,
  DeviceIoeventfd,
  DirtyBitmap,
  DirtyBitmapGet,
  DmaMap,
  DmaUnmap,
  GroupStatus,
  IrqInfo,
  IrqSet,
  PciHotReset,
  PciHotResetInfo,
  RegionInfo,
  Type1Info,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
} from '../../../iommu/abi/vfio.ts';
import { type FieldType, type Struct, viewOf } from '../../../platform/struct.ts';

// biome-ignore lint/suspicious/noExplicitAny: any struct
type AnyStruct = Struct<Record<string, FieldType<any>>>;

interface Shape {
  readonly struct: unknown;
  /** Names of the bits of `flags`, the lowest first. */
  readonly flags: readonly string[];
  /** What may follow the struct. */
  readonly rest?: (flags: number, rest: Uint8Array) => string;
}

const SHAPES: Readonly<Record<string, Shape>> = {
  VFIO_GROUP_GET_STATUS: { struct: GroupStatus, flags: ['VIABLE', 'CONTAINER_SET'] },
  VFIO_DEVICE_GET_INFO: {
    struct: DeviceInfo,
    flags: ['RESET', 'PCI', 'PLATFORM', 'AMBA', 'CCW', 'AP', 'FSL_MC', 'CAPS'],
  },
  VFIO_DEVICE_GET_REGION_INFO: { struct: RegionInfo, flags: ['READ', 'WRITE', 'MMAP', 'CAPS'] },
  VFIO_DEVICE_GET_IRQ_INFO: { struct: IrqInfo, flags: ['EVENTFD', 'MASKABLE', 'AUTOMASKED', 'NORESIZE'] },
  VFIO_DEVICE_SET_IRQS: {
    struct: IrqSet,
    flags: ['DATA_NONE', 'DATA_BOOL', 'DATA_EVENTFD', 'ACTION_MASK', 'ACTION_UNMASK', 'ACTION_TRIGGER'],
    rest: irqData,
  },
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: { struct: PciHotResetInfo, flags: [] },
  VFIO_DEVICE_PCI_HOT_RESET: { struct: PciHotReset, flags: [] },
  VFIO_DEVICE_IOEVENTFD: { struct: DeviceIoeventfd, flags: ['8', '16', '32', '64'] },
  VFIO_DEVICE_FEATURE: {
    struct: DeviceFeature,
    flags: [...Array.from({ length: 16 }, (_, i) => `1<<${i}`), 'GET', 'SET', 'PROBE'],
  },
  VFIO_IOMMU_GET_INFO: { struct: Type1Info, flags: ['PGSIZES', 'CAPS'] },
  VFIO_IOMMU_MAP_DMA: { struct: DmaMap, flags: ['READ', 'WRITE', 'VADDR'] },
  VFIO_IOMMU_UNMAP_DMA: {
    struct: DmaUnmap,
    flags: ['GET_DIRTY_BITMAP', 'ALL', 'VADDR'],
    rest: (flags, rest) => ((flags & 1) !== 0 ? fields(Bitmap, rest) : ''),
  },
  VFIO_IOMMU_DIRTY_PAGES: {
    struct: DirtyBitmap,
    flags: ['START', 'STOP', 'GET_BITMAP'],
    rest: (flags, rest) => ((flags & 4) !== 0 ? fields(DirtyBitmapGet, rest) : ''),
  },
};

/** Fields that people read as numbers; all others of 64 bits are hexadecimal. */
const MAX_LISTED = 8;

function irqData(flags: number, rest: Uint8Array): string {
  if ((flags & VFIO_IRQ_SET_DATA_BOOL) !== 0) return `data=${listed([...rest])}`;
  if ((flags & VFIO_IRQ_SET_DATA_EVENTFD) === 0) return '';
  const view = viewOf(rest);
  return `data=${listed(Array.from({ length: rest.length >> 2 }, (_, i) => view.getInt32(4 * i, true)))}`;
}

const listed = (values: readonly number[]): string =>
  `[${values.slice(0, MAX_LISTED).join(', ')}${values.length > MAX_LISTED ? ', …' : ''}]`;

/** `READ|WRITE|0x100`. */
function bits(value: number, names: readonly string[]): string {
  const set = names.filter((_, i) => ((value >>> i) & 1) !== 0);
  const rest = value & ~(2 ** names.length - 1);
  if (rest !== 0) set.push(`0x${(rest >>> 0).toString(16)}`);
  return set.length > 0 ? set.join('|') : '0';
}

const numberText = (value: number | bigint): string =>
  typeof value === 'bigint' ? `0x${value.toString(16)}` : `${value}`;

/** The fields of a struct that `bytes` holds in whole. */
function fields(struct: unknown, bytes: Uint8Array, flags: readonly string[] = []): string {
  const { size, read } = struct as AnyStruct;
  const whole = bytes.length >= size ? bytes : padded(bytes, size);
  return Object.entries(read(viewOf(whole)))
    .filter(([name]) => (struct as AnyStruct).offset[name]! < bytes.length && !/^(pad|reserved)$/.test(name))
    .map(([name, value]) => `${name}=${name === 'flags' ? bits(Number(value), flags) : numberText(value)}`)
    .join(', ');
}

function padded(bytes: Uint8Array, size: number): Uint8Array {
  const whole = new Uint8Array(size);
  whole.set(bytes);
  return whole;
}

/** The argument of the ioctl `name`: `{argsz=32, flags=READ, …}`. */
export function argumentText(name: string | undefined, arg: number | bigint | Uint8Array): string {
  if (!(arg instanceof Uint8Array)) return numberText(BigInt(arg));
  if (name === 'VFIO_GROUP_SET_CONTAINER' && arg.length >= 4) return `[${viewOf(arg).getInt32(0, true)}]`;
  if (name === 'VFIO_GROUP_GET_DEVICE_FD') return JSON.stringify(cString(arg));
  const shape = name === undefined ? undefined : SHAPES[name];
  if (!shape) return `{${arg.length} bytes}`;
  const { size, offset } = shape.struct as AnyStruct;
  const argsz = arg.length >= 4 ? viewOf(arg).getUint32(0, true) : arg.length;
  const used = arg.subarray(0, Math.max(argsz, size));
  const flags = used.length >= offset.flags! + 4 ? viewOf(used).getUint32(offset.flags!, true) : 0;
  const rest = shape.rest?.(flags, used.subarray(size)) ?? '';
  return `{${[fields(shape.struct, used.subarray(0, argsz), shape.flags), rest].filter((text) => text !== '').join(', ')}}`;
}

function cString(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('latin1');
}
