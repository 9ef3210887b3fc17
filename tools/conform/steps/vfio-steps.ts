/** Steps that are system calls on containers, groups and devices. */
import {
  VFIO_CHECK_EXTENSION,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_IOEVENTFD,
  VFIO_DEVICE_PCI_HOT_RESET,
  VFIO_DEVICE_RESET,
  VFIO_DEVICE_SET_IRQS,
  VFIO_GET_API_VERSION,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_SET_IOMMU,
} from '../../../iommu/abi/vfio.ts';
import { VFIO_CONTAINER_PATH, VFIO_GROUP_DIR } from '../../../iommu/abi/wire.ts';
import { formatBytes, fromHex } from '../notation.ts';
import type { CallContext, StepTable } from './call-context.ts';
import { opened } from './fd-steps.ts';
import { type StructLayout, structCall } from './struct-arg.ts';

const struct =
  (layout: StructLayout): StepTable[string] =>
  (context) =>
    structCall(context, layout);

const BITMAP_FIELDS = [
  ['pgsize', 8],
  ['bsize', 8],
  ['bitmap', 8],
] as const;
const HEADER = [
  ['argsz', 4],
  ['flags', 4],
] as const;

const UNMAP: StructLayout = {
  nr: VFIO_IOMMU_UNMAP_DMA,
  fields: [...HEADER, ['iova', 8], ['size', 8], ...BITMAP_FIELDS],
  defaults: { argsz: 24 },
  least: 24,
};
const DIRTY: StructLayout = {
  nr: VFIO_IOMMU_DIRTY_PAGES,
  fields: [...HEADER, ['iova', 8], ['size', 8], ...BITMAP_FIELDS],
  defaults: { argsz: 8 },
};

export const VFIO_STEPS: StepTable = {
  container: (context) => opened(context, () => context.calls.open(VFIO_CONTAINER_PATH)),
  group: (context) => opened(context, () => context.calls.open(`${VFIO_GROUP_DIR}${groupNumber(context)}`)),
  /** Opens a device. The fd is close-on-exec, as the kernel makes it (CORE-6). */
  device(context) {
    const { calls, words, step, state, devices } = context;
    const [name, group, device] = step.args as [string, string, string];
    const path = new TextEncoder().encode(`${devices[device]?.name ?? device}\0`);
    return words.status(async () => {
      const fd = await calls.ioctl(words.fd(group), VFIO_GROUP_GET_DEVICE_FD, path);
      state.change({ fd: name, number: fd });
      return 0;
    });
  },
  api: byValue(VFIO_GET_API_VERSION),
  check: byValue(VFIO_CHECK_EXTENSION),
  set_iommu: byValue(VFIO_SET_IOMMU),
  info: struct({ nr: VFIO_IOMMU_GET_INFO, fields: HEADER }),
  map: struct({
    nr: VFIO_IOMMU_MAP_DMA,
    fields: [...HEADER, ['vaddr', 8], ['iova', 8], ['size', 8]],
    defaults: { argsz: 32 },
    least: 32,
  }),
  unmap: (context) => withBitmap(context, UNMAP),
  dirty: (context) => withBitmap(context, DIRTY),
  group_status: struct({ nr: VFIO_GROUP_GET_STATUS, fields: HEADER, defaults: { argsz: 8 } }),
  set_container({ calls, words, step }) {
    const [group, container] = step.args as [string, string];
    const { avail } = step.options;
    // The recorder left a short argument empty, so in its last case the argument is fd 0.
    const value = avail === undefined ? words.fd(container) : 0;
    const arg = new Uint8Array(Int32Array.of(value).buffer).subarray(0, words.count(avail ?? '4'));
    return words.status(() => calls.ioctl(words.fd(group), VFIO_GROUP_SET_CONTAINER, arg));
  },
  unset_container: byValue(VFIO_GROUP_UNSET_CONTAINER),
  dev_info: struct({ nr: VFIO_DEVICE_GET_INFO, fields: HEADER, defaults: { argsz: 24 } }),
  region_info: struct({
    nr: VFIO_DEVICE_GET_REGION_INFO,
    fields: [...HEADER, ['index', 4]],
    defaults: { argsz: 32 },
  }),
  irq_info: struct({ nr: VFIO_DEVICE_GET_IRQ_INFO, fields: [...HEADER, ['index', 4]], defaults: { argsz: 16 } }),
  set_irqs: struct({
    nr: VFIO_DEVICE_SET_IRQS,
    fields: [...HEADER, ['index', 4], ['start', 4], ['count', 4]],
    defaults: { argsz: 20, flags: 0, index: 0, start: 0, count: 0 },
  }),
  reset: byValue(VFIO_DEVICE_RESET),
  hot_reset_info: struct({ nr: VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, fields: HEADER, defaults: { argsz: 12 } }),
  hot_reset: struct({
    nr: VFIO_DEVICE_PCI_HOT_RESET,
    fields: [...HEADER, ['count', 4]],
    defaults: { argsz: 12, flags: 0, count: 0 },
  }),
  ioeventfd(context) {
    const { words, step } = context;
    const { offset = '0', fd = '-1' } = step.options;
    const extra = { offset: words.offset(offset), fd: BigInt(words.fd(fd)) };
    const layout: StructLayout = {
      nr: VFIO_DEVICE_IOEVENTFD,
      fields: [...HEADER, ['offset', 8], ['data', 8], ['fd', 4]],
      defaults: { argsz: 32, flags: 0, data: 0 },
    };
    return structCall(context, layout, extra);
  },
  feature: struct({ nr: VFIO_DEVICE_FEATURE, fields: HEADER, defaults: { argsz: 8, flags: 0 } }),
  async pread({ calls, words, step }) {
    const [fd, offset, length] = step.args as [string, string, string];
    const into = new Uint8Array(words.count(length));
    let count = 0;
    const status = await words.status(async () => {
      count = await calls.pread(words.fd(fd), words.offset(offset), into);
      return count;
    });
    return count > 0 ? `${status} data=${formatBytes(into.subarray(0, count))}` : status;
  },
  pwrite({ calls, words, step }) {
    const [fd, offset, hex] = step.args as [string, string, string];
    return words.status(() => calls.pwrite(words.fd(fd), words.offset(offset), fromHex(hex)));
  },
  ioctl({ calls, words, step }) {
    const [fd, nr, arg] = step.args as [string, string, string];
    return words.status(() => calls.ioctl(words.fd(fd), words.count(nr), words.number(arg)));
  },
  ioctlbuf(context) {
    const { words, step } = context;
    const nr = words.count(step.args[1]!);
    const { hex = '' } = step.options;
    const fields = Array.from({ length: hex.length / 8 }, (_, i) => [`word${i}`, 4] as const);
    const view = new DataView(fromHex(hex).buffer);
    const extra = Object.fromEntries(fields.map(([key], i) => [key, BigInt(view.getUint32(4 * i, true))]));
    return structCall(context, { nr, fields }, extra);
  },
};

/** A step for an ioctl that takes the second word by value. */
function byValue(nr: number): StepTable[string] {
  return ({ calls, words, step: { args } }) =>
    words.status(() => calls.ioctl(words.fd(args[0]!), nr, words.number(args[1] ?? '0')));
}

function groupNumber({ devices, step }: CallContext): string {
  const device = step.args[1]!;
  return String(devices[device]?.group ?? device);
}

/**
 * Makes an ioctl with `bitmap=buf:N`: a user buffer of N bytes with nothing mapped behind it. The
 * buffer's content afterwards is part of the answer.
 */
async function withBitmap(context: CallContext, layout: StructLayout): Promise<string> {
  const { calls, words, step } = context;
  const match = /^buf:(\d+)$/.exec(step.options.bitmap ?? '');
  if (!match) return structCall(context, layout);
  const bytes = new Uint8Array(Number(match[1])).fill(words.count(step.options.bmfill ?? '0'));
  const buffer = await calls.buffer(bytes);
  const status = await structCall(context, layout, { bitmap: BigInt(buffer.vaddr) });
  const text = formatBytes(await buffer.bytes());
  await buffer.unmap();
  return `${status} bm=${text}`;
}
