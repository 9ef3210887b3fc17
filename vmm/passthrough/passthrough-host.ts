/**
 * All passed-through devices of a VMM: one host, one container, each device with its description
 * and the eventfds of its vectors.
 */
import { MSI_WINDOW_START } from '../../iommu/abi/msi-window.ts';
import { einval, enodev, SysError } from '../../platform/errno.ts';
import { fd } from '../../platform/fd-shape.ts';
import { hex } from '../../platform/hex.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd } from '../../platform/libc/eventfd.ts';
import { defineSection, type StateOf } from '../../platform/section.ts';
import { list, nullable, object, type Shaped } from '../../platform/shape.ts';
import { askHost } from '../client/control.ts';
import { DEVICE_DESCRIPTION, describeDevice } from '../client/device.ts';
import { openDevice } from '../client/group.ts';
import { KernelClient } from '../client/kernel-client.ts';
import { CONTAINER_STATE, type ContainerState, type DmaRange, PassthroughContainer } from './container.ts';

const PASSED_DEVICE = object({ description: DEVICE_DESCRIPTION, msiEventfds: list(fd) });

export type PassedDevice = Shaped<typeof PASSED_DEVICE>;

/** The state that survives: open fds, and the kernel's state under them. */
export const VFIO_SECTION = defineSection('vfio', 1, {
  /** null: no devices. */
  container: nullable(CONTAINER_STATE),
  devices: list(PASSED_DEVICE),
});

export type VfioState = StateOf<typeof VFIO_SECTION>;

export const NO_DEVICES: VfioState = { version: 1, container: null, devices: [] };

export class PassthroughHost {
  readonly client: KernelClient;
  readonly container: PassthroughContainer;
  readonly devices: readonly PassedDevice[];

  private constructor(client: KernelClient, container: PassthroughContainer, devices: readonly PassedDevice[]) {
    this.client = client;
    this.container = container;
    this.devices = devices;
  }

  /**
   * Opens the devices `bdfs` and lets them reach guest RAM. ENODEV: the host has no such device.
   */
  static open(
    socketPath: string,
    bdfs: readonly string[],
    ram: DmaRange & { readonly vaddr: number },
  ): PassthroughHost {
    const client = new KernelClient(socketPath);
    const groups = groupsByBdf(client);
    const container = new PassthroughContainer(client);
    const groupFds = new Map<number, number>();
    const devices = bdfs.map((bdf) => {
      const group = groups.get(bdf);
      if (group === undefined) throw enodev(`the host has no device ${bdf}`);
      const groupFd = groupFds.get(group) ?? container.addGroup(group);
      groupFds.set(group, groupFd);
      const description = describeDevice(client, openDevice(client, groupFd, bdf), bdf);
      const msiEventfds = Array.from({ length: description.msiVectors }, () => eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      return { description, msiEventfds };
    });
    const { vaddr, iova, offset, size } = ram;
    mapRam(container, { iova, offset, size }, vaddr);
    return new PassthroughHost(client, container, devices);
  }

  /** The same devices in a new image, which has inherited their fds. */
  static resume(socketPath: string, container: ContainerState, devices: readonly PassedDevice[]): PassthroughHost {
    const client = new KernelClient(socketPath);
    return new PassthroughHost(client, new PassthroughContainer(client, container), devices);
  }

  save(): VfioState {
    return { version: 1, container: this.container.save(), devices: this.devices };
  }
}

/** The IOMMU group of each device. On Linux one reads it in sysfs. */
function groupsByBdf(client: KernelClient): Map<string, number> {
  const { devices } = askHost(client, { op: 'info' });
  return new Map(devices.map(({ bdf, group }) => [bdf, group]));
}

/**
 * Lets the devices reach guest RAM, iova = gpa. EINVAL says how much RAM is possible on a host with
 * a window for MSIs.
 */
function mapRam(container: PassthroughContainer, range: DmaRange, vaddr: number): void {
  try {
    container.map(range, vaddr);
  } catch (error) {
    const { iova, size } = range;
    if (!(error instanceof SysError) || error.code !== 'EINVAL' || iova + size <= MSI_WINDOW_START) throw error;
    const most = (MSI_WINDOW_START - iova) / 2 ** 20;
    throw einval(
      `-m: at most ${most}M with these devices: above lies the MSI window of their IOMMU, from ${hex(MSI_WINDOW_START)} on`,
    );
  }
}
