/**
 * Interrupts of a device fd. Each function makes one ioctl, which returns or throws the errno of
 * the kernel (SysError). `index` is VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX and so on;
 * interrupt n of an index is its nth vector.
 */
import {
  IrqInfo,
  IrqSet,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
} from '../../iommu/abi/vfio.ts';
import { viewOf } from '../../platform/struct.ts';
import type { FileCalls } from './task-channel.ts';

/**
 * The action of SET_IRQS on interrupts [start, start + count) of an index. The default has no data
 * and names interrupt 0.
 */
export interface IrqAction {
  readonly index: number;
  /** VFIO_IRQ_SET_ACTION_TRIGGER by default, or MASK, or UNMASK. */
  readonly action?: number;
  readonly start?: number;
  /** DATA_NONE: how many interrupts, by default 1; 0 with TRIGGER switches the index off. */
  readonly count?: number;
  /** DATA_EVENTFD: one eventfd for each interrupt; −1 removes the interrupt's eventfd. */
  readonly eventfds?: readonly number[];
}

/** struct vfio_irq_set with its data. */
export function irqSetArg(wanted: IrqAction): Uint8Array {
  const { index, action = VFIO_IRQ_SET_ACTION_TRIGGER, start = 0, eventfds } = wanted;
  const argsz = IrqSet.size + 4 * (eventfds?.length ?? 0);
  const flags = action | (eventfds ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE);
  const count = eventfds?.length ?? wanted.count ?? 1;
  const arg = IrqSet.bytes({ argsz, flags, index, start, count }, argsz);
  const view = viewOf(arg);
  for (const [i, fd] of eventfds?.entries() ?? []) view.setInt32(IrqSet.size + 4 * i, fd, true);
  return arg;
}

/** VFIO_DEVICE_SET_IRQS */
export function setIrqs(calls: FileCalls, device: number, action: IrqAction): void {
  calls.ioctl(device, VFIO_DEVICE_SET_IRQS, irqSetArg(action));
}

/** Interrupts 0… signal these eventfds from now on. −1: enabled, but signals nothing (PCI-4). */
export function armIrqs(calls: FileCalls, device: number, index: number, eventfds: readonly number[]): void {
  setIrqs(calls, device, { index, eventfds });
}

/** Switches the index off (PCI-4: DATA_NONE, count 0). */
export function disarmIrqs(calls: FileCalls, device: number, index: number): void {
  setIrqs(calls, device, { index, count: 0 });
}

/** Signals the eventfd of interrupt 0 as if the device had interrupted: the loop-back. */
export function triggerIrq(calls: FileCalls, device: number, index: number): void {
  setIrqs(calls, device, { index });
}

export interface IrqFacts {
  /** VFIO_IRQ_INFO_* */
  readonly flags: number;
  readonly count: number;
}

/** VFIO_DEVICE_GET_IRQ_INFO: struct vfio_irq_info. EINVAL: the device has no such index. */
export function getIrqInfo(calls: FileCalls, device: number, index: number): IrqFacts {
  const info = IrqInfo.bytes({ argsz: IrqInfo.size, index });
  calls.ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, info);
  const { flags, count } = IrqInfo.read(viewOf(info));
  return { flags, count };
}
