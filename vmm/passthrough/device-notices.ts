/**
 * What a host tells the user of a device: that it wants the device back (REQ, PCI-14), and that the
 * device has had an uncorrectable error (ERR, PCI-13). Both are counts in eventfds, so an update
 * loses none of them. The count of ERR stays until the machine is reset: as long as it is there,
 * the guest must not run.
 */
import { VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX } from '../../iommu/abi/vfio.ts';
import { codeOf } from '../../platform/errno.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdRead } from '../../platform/libc/eventfd.ts';
import { open } from '../../platform/libc/fd.ts';
import { POLLIN, poll } from '../../platform/libc/poll.ts';
import { armIrqs, getIrqInfo } from '../client/irqs.ts';
import type { KernelClient } from '../client/kernel-client.ts';
import type { PassedDevice } from './vfio-section.ts';

const O_RDONLY = 0;

/** A device whose eventfds are armed. Those of a device that has them are already. */
export function opened(client: KernelClient, device: PassedDevice): PassedDevice {
  if (device.gone || device.request !== null) return device;
  const { fd } = device.description;
  const arm = (index: number): number => {
    const event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    armIrqs(client, fd, index, [event]);
    return event;
  };
  const error = hasErrors(client, fd) ? arm(VFIO_PCI_ERR_IRQ_INDEX) : null;
  return { ...device, request: arm(VFIO_PCI_REQ_IRQ_INDEX), error };
}

/** PCI-2: EINVAL for a device that is not PCI Express. */
function hasErrors(client: KernelClient, device: number): boolean {
  try {
    return getIrqInfo(client, device, VFIO_PCI_ERR_IRQ_INDEX).count > 0;
  } catch (error) {
    if (codeOf(error) !== 'EINVAL') throw error;
    return false;
  }
}

/** Reads the count. */
export const isAsked = ({ request, gone }: PassedDevice): boolean =>
  !gone && request !== null && eventfdRead(request) > 0;

/** Leaves the count. */
export const failed = ({ error, gone }: PassedDevice): boolean =>
  !gone && error !== null && (poll([{ fd: error, events: POLLIN }], 0)?.[0] ?? 0) !== 0;

export function takeFailure(device: PassedDevice): void {
  if (failed(device)) eventfdRead(device.error!);
}

/** What the fd of a device that is gone is open on: its VFIO calls fail. */
export const standIn = (): number => open('/dev/null', O_RDONLY);

/** A device that is gone, in a process that has none of its fds. */
export function reopened(device: PassedDevice): PassedDevice {
  const msiEventfds = device.msiEventfds.map(() => eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  return {
    ...device,
    ...{ description: { ...device.description, fd: standIn() }, msiEventfds, request: null, error: null },
  };
}
