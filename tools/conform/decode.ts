/** Translates steps and answers into the words of linux/vfio.h, for a reader of a difference. */
import * as uapi from '../../iommu/abi/vfio.ts';
import { hex } from '../../platform/hex.ts';
import { type FieldType, type Struct, viewOf } from '../../platform/struct.ts';
import { fromHex } from './notation.ts';
import type { Step } from './vector-file.ts';

type Flags = Readonly<Record<string, number>>;
type AnyStruct = Struct<Readonly<Record<string, FieldType<number> | FieldType<bigint>>>>;

interface StructCall {
  /** Name of the ioctl. */
  readonly name: string;
  readonly struct: AnyStruct;
  readonly flags: Flags;
}

/** The header's flags with names that start with `prefix`. The prefix is cut off. */
function flagsOf(prefix: string): Flags {
  const found = Object.entries(uapi).filter(
    (entry): entry is [string, number] => entry[0].startsWith(prefix) && !entry[0].endsWith('MASK'),
  );
  return Object.fromEntries(found.map(([name, value]) => [name.slice(prefix.length), value]));
}

const call = (name: string, struct: unknown, prefix: string): StructCall => ({
  name,
  struct: struct as AnyStruct,
  flags: flagsOf(prefix),
});

const CALLS: Readonly<Record<string, StructCall>> = {
  info: call('VFIO_IOMMU_GET_INFO', uapi.Type1Info, 'VFIO_IOMMU_INFO_'),
  map: call('VFIO_IOMMU_MAP_DMA', uapi.DmaMap, 'VFIO_DMA_MAP_FLAG_'),
  unmap: call('VFIO_IOMMU_UNMAP_DMA', uapi.DmaUnmap, 'VFIO_DMA_UNMAP_FLAG_'),
  dirty: call('VFIO_IOMMU_DIRTY_PAGES', uapi.DirtyBitmap, 'VFIO_IOMMU_DIRTY_PAGES_FLAG_'),
  group_status: call('VFIO_GROUP_GET_STATUS', uapi.GroupStatus, 'VFIO_GROUP_FLAGS_'),
  dev_info: call('VFIO_DEVICE_GET_INFO', uapi.DeviceInfo, 'VFIO_DEVICE_FLAGS_'),
  region_info: call('VFIO_DEVICE_GET_REGION_INFO', uapi.RegionInfo, 'VFIO_REGION_INFO_FLAG_'),
  irq_info: call('VFIO_DEVICE_GET_IRQ_INFO', uapi.IrqInfo, 'VFIO_IRQ_INFO_'),
  set_irqs: call('VFIO_DEVICE_SET_IRQS', uapi.IrqSet, 'VFIO_IRQ_SET_'),
  hot_reset_info: call('VFIO_DEVICE_GET_PCI_HOT_RESET_INFO', uapi.PciHotResetInfo, 'no flags'),
  hot_reset: call('VFIO_DEVICE_PCI_HOT_RESET', uapi.PciHotReset, 'no flags'),
  ioeventfd: call('VFIO_DEVICE_IOEVENTFD', uapi.DeviceIoeventfd, 'VFIO_DEVICE_IOEVENTFD_'),
  feature: call('VFIO_DEVICE_FEATURE', uapi.DeviceFeature, 'no flags'),
};

const PLAIN_CALLS: Readonly<Record<string, string>> = {
  api: 'VFIO_GET_API_VERSION',
  check: 'VFIO_CHECK_EXTENSION',
  set_iommu: 'VFIO_SET_IOMMU',
  set_container: 'VFIO_GROUP_SET_CONTAINER',
  unset_container: 'VFIO_GROUP_UNSET_CONTAINER',
  reset: 'VFIO_DEVICE_RESET',
};

const FEATURE_VERBS: Flags = {
  GET: uapi.VFIO_DEVICE_FEATURE_GET,
  SET: uapi.VFIO_DEVICE_FEATURE_SET,
  PROBE: uapi.VFIO_DEVICE_FEATURE_PROBE,
};

/**
 * A step in the words of a C programmer: `VFIO_IOMMU_MAP_DMA(c1, {flags READ|WRITE, vaddr $RAM,
 * iova 0x1000, size 0x1000})`.
 */
export function decodeStep({ op, args, options, actor, text }: Step): string {
  const by = actor === null ? '' : ` by ${actor}`;
  const struct = Object.hasOwn(CALLS, op) ? CALLS[op]! : undefined;
  if (struct) {
    const fields = Object.entries(options).map(([key, value]) => `${key} ${decodeOption(op, struct, key, value)}`);
    return `${struct.name}(${[...args, `{${fields.join(', ')}}`].join(', ')})${by}`;
  }
  if (Object.hasOwn(PLAIN_CALLS, op)) return `${PLAIN_CALLS[op]!}(${args.join(', ')})${by}`;
  if (op === 'ioctl') return `ioctl(${args.join(', ')})${by}`;
  return text;
}

function decodeOption(op: string, { flags }: StructCall, key: string, value: string): string {
  if (key !== 'flags' || value.includes('$')) return value;
  const bits = Number(value);
  return op === 'feature' ? decodeFeature(bits) : decodeFlags(bits, flags);
}

function decodeFeature(flags: number): string {
  const feature = flags & uapi.VFIO_DEVICE_FEATURE_MASK;
  return `${decodeFlags((flags & ~feature) >>> 0, FEATURE_VERBS)} of feature ${feature}`;
}

/** Names of the set bits; bits without a name are in hex. */
function decodeFlags(bits: number, flags: Flags): string {
  const names = Object.entries(flags).filter(([, bit]) => (bits & bit) !== 0);
  const rest = names.reduce((left, [, bit]) => left & ~bit, bits) >>> 0;
  const words = names.map(([name]) => name);
  if (rest !== 0 || words.length === 0) words.push(hex(rest));
  return words.join('|');
}

/** An answer with the bytes of its struct as fields. */
export function decodeAnswer({ op }: Step, answer: string): string {
  const struct = Object.hasOwn(CALLS, op) ? CALLS[op]! : undefined;
  return answer.replace(/\bout=([0-9a-f]*)/, (whole, hex: string) =>
    struct ? decodeStruct(op, struct, fromHex(hex)) : whole,
  );
}

function decodeStruct(op: string, { struct, flags }: StructCall, bytes: Uint8Array): string {
  const whole = new Uint8Array(Math.max(bytes.length, struct.size));
  whole.set(bytes);
  const value = struct.read(viewOf(whole));
  const fields = Object.entries(struct.offset)
    .filter(([, offset]) => offset < bytes.length)
    .map(([key]) => `${key} ${key === 'flags' ? decodeFlags(Number(value[key]), flags) : hexIfLarge(value[key]!)}`);
  if (op === 'info') fields.push(...decodeCapabilities(bytes));
  const text = `{${fields.join(', ')}}`;
  return bytes.length < struct.size ? `${text} (${bytes.length} bytes)` : text;
}

const hexIfLarge = (value: number | bigint): string => (value < 1024 ? String(value) : hex(value));

/** The capability chain behind vfio_iommu_type1_info (NUM-6). */
function decodeCapabilities(bytes: Uint8Array): string[] {
  const view = viewOf(bytes);
  const has = (at: number, length: number): boolean => at + length <= bytes.length;
  const words: string[] = [];
  const capOffset = uapi.Type1Info.offset.cap_offset;
  let at = has(capOffset, 4) ? view.getUint32(capOffset, true) : 0;
  for (let seen = 0; at !== 0 && seen < 8 && has(at, uapi.InfoCapHeader.size); seen++) {
    const { id, next } = uapi.InfoCapHeader.read(view, at);
    words.push(`${capabilityName(id)}@${at} ${decodeCapability(view, id, at, next === 0 ? bytes.length : next)}`);
    at = next;
  }
  return words;
}

function capabilityName(id: number): string {
  if (id === uapi.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) return 'IOVA_RANGE';
  if (id === uapi.VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION) return 'MIGRATION';
  if (id === uapi.VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL) return 'DMA_AVAIL';
  return `capability ${id}`;
}

function decodeCapability(view: DataView, id: number, at: number, end: number): string {
  const fits = (length: number): boolean => at + length <= Math.min(end, view.byteLength);
  if (id === uapi.VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL && fits(12)) {
    return String(uapi.Type1InfoDmaAvail.read(view, at).avail);
  }
  if (id === uapi.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE && fits(uapi.Type1InfoCapIovaRange.size)) {
    const { nr_iovas: count } = uapi.Type1InfoCapIovaRange.read(view, at);
    const ranges: string[] = [];
    for (let i = 0; i < count; i++) {
      const from = uapi.Type1InfoCapIovaRange.size + i * uapi.IovaRange.size;
      if (!fits(from + uapi.IovaRange.size)) break;
      const { start, end: last } = uapi.IovaRange.read(view, at + from);
      ranges.push(`${hex(start)}-${hex(last)}`);
    }
    return `[${ranges.join(' ')}]`;
  }
  if (id === uapi.VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION && fits(uapi.Type1InfoCapMigration.size)) {
    const { pgsize_bitmap: pgsizes, max_dirty_bitmap_size: most } = uapi.Type1InfoCapMigration.read(view, at);
    return `{pgsize_bitmap ${hex(pgsizes)}, max_dirty_bitmap_size ${hex(most)}}`;
  }
  return '';
}
