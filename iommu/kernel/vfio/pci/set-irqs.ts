/**
 * The argument of VFIO_DEVICE_SET_IRQS, checked in the kernel's order
 * (vfio_set_irqs_validate_and_prepare; PCI-3).
 */
import { einval } from '../../../../platform/errno.ts';
import { hex } from '../../../../platform/hex.ts';
import {
  IrqSet,
  VFIO_IRQ_SET_ACTION_TYPE_MASK,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_IRQ_SET_DATA_TYPE_MASK,
  VFIO_PCI_NUM_IRQS,
} from '../../../abi/vfio.ts';
import type { UserArg } from '../../core/user-arg.ts';
import type { IrqChange } from './irqs.ts';

const U32_MAX = 0xffff_ffff;
const KNOWN_FLAGS = VFIO_IRQ_SET_ACTION_TYPE_MASK | VFIO_IRQ_SET_DATA_TYPE_MASK;

/** `countOf(index)` returns how many interrupts the index has. */
export function parseSetIrqs(arg: UserArg, countOf: (index: number) => number): IrqChange {
  const { argsz, flags, index, start, count } = arg.read(IrqSet);
  if (argsz < IrqSet.size || index >= VFIO_PCI_NUM_IRQS || count >= U32_MAX - start || (flags & ~KNOWN_FLAGS) !== 0) {
    throw einval(`SET_IRQS: argsz ${argsz}, index ${index}, flags ${hex(flags)}, ${start}+${count}`);
  }
  const available = countOf(index);
  if (start >= available || start + count > available) {
    throw einval(`SET_IRQS: interrupts ${start}+${count} of index ${index}, which has ${available}`);
  }
  const room = argsz - IrqSet.size;
  return {
    index,
    start,
    count,
    action: flags & VFIO_IRQ_SET_ACTION_TYPE_MASK,
    data: parseData(arg, flags, count, room),
  };
}

/**
 * Parses exactly one DATA type. Its elements are copied in after all other checks (memdup_user).
 */
function parseData(arg: UserArg, flags: number, count: number, room: number): IrqChange['data'] {
  switch (flags & VFIO_IRQ_SET_DATA_TYPE_MASK) {
    case VFIO_IRQ_SET_DATA_NONE:
      return { type: 'none' };
    case VFIO_IRQ_SET_DATA_BOOL: {
      const view = copyElements(arg, count, 1, room);
      return { type: 'bool', values: Array.from({ length: count }, (_, i) => view.getUint8(i) !== 0) };
    }
    case VFIO_IRQ_SET_DATA_EVENTFD: {
      const view = copyElements(arg, count, 4, room);
      return { type: 'eventfd', fds: Array.from({ length: count }, (_, i) => view.getInt32(4 * i, true)) };
    }
  }
  throw einval('SET_IRQS: not exactly one DATA flag');
}

function copyElements(arg: UserArg, count: number, size: number, room: number): DataView {
  if (room < count * size)
    throw einval(`SET_IRQS: argsz has room for ${room} bytes, ${count} elements of ${size} are said`);
  return arg.copyIn(count * size, IrqSet.size);
}
