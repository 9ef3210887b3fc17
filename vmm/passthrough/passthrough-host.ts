/**
 * All passed-through devices of a VMM: one host, one container, each device with its description
 * and the eventfds of its vectors.
 */
import { MSI_WINDOW_START } from '../../iommu/abi/msi-window.ts';
import {
  PCI_BASE_ADDRESS_0,
  PCI_BASE_ADDRESS_MEM_PREFETCH,
  PCI_BASE_ADDRESS_SPACE_IO,
} from '../../iommu/abi/pci-regs.ts';
import { VFIO_PCI_INTX_IRQ_INDEX, VFIO_REGION_INFO_FLAG_MMAP } from '../../iommu/abi/vfio.ts';
import { einval, enodev, SysError } from '../../platform/errno.ts';
import { fd } from '../../platform/fd-shape.ts';
import { hex } from '../../platform/hex.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd } from '../../platform/libc/eventfd.ts';
import { defineSection, type StateOf } from '../../platform/section.ts';
import { list, nullable, object, type Shaped } from '../../platform/shape.ts';
import { askHost } from '../client/control.ts';
import {
  DEVICE_DESCRIPTION,
  DEVICE_DESCRIPTION_1,
  type DeviceDescription,
  describeDevice,
  getRegionFlags,
} from '../client/device.ts';
import { openDevice } from '../client/group.ts';
import { getIrqInfo } from '../client/irqs.ts';
import { KernelClient } from '../client/kernel-client.ts';
import {
  CONTAINER_STATE,
  CONTAINER_STATE_1,
  type ContainerState,
  type DmaRange,
  PassthroughContainer,
} from './container.ts';
import { type PeerBarParts, type PeerBarState, unplaced } from './peer-bars.ts';
import type { PersistentGuest } from './persistent-files.ts';

/**
 * The eventfds are of MSI or MSI-X, whichever the guest uses; behind them lies that of INTx, if the
 * guest's machine has wires.
 */
const PASSED_DEVICE = object({ description: DEVICE_DESCRIPTION, msiEventfds: list(fd) });

/** Without MSI-X. */
const PASSED_DEVICE_1 = object({ description: DEVICE_DESCRIPTION_1, msiEventfds: list(fd) });

export type PassedDevice = Shaped<typeof PASSED_DEVICE>;

/** The state that survives: open fds, and the kernel's state under them. */
export const VFIO_SECTION = defineSection('vfio', 3, {
  /** null: no devices. */
  container: nullable(CONTAINER_STATE),
  devices: list(PASSED_DEVICE),
})
  .earlier(
    2,
    { container: nullable(CONTAINER_STATE), devices: list(PASSED_DEVICE_1) },
    {
      read: ({ container, devices }) => ({ container, devices: devices.map(withMsix) }),
      write: ({ container, devices }) => ({ container, devices: devices.map(withoutMsix) }),
    },
  )
  .earlier(
    1,
    { container: nullable(CONTAINER_STATE_1), devices: list(PASSED_DEVICE_1) },
    {
      // its BARs are no targets until the next power-on
      read: ({ container, devices }) => ({
        container: container && { ...container, peerBars: [] },
        devices: devices.map(withMsix),
      }),
      write({ container, devices }) {
        if (container?.peerBars.some(({ iova }) => iova !== null)) {
          throw einval('a BAR is mapped for the DMA of another device');
        }
        return { container: container && withoutPeerBars(container), devices: devices.map(withoutMsix) };
      },
    },
  );

function withoutPeerBars({ fd, groups, ranges }: ContainerState): Shaped<typeof CONTAINER_STATE_1> {
  return { fd, groups, ranges };
}

/** A guest that has not been shown MSI-X does without it until the next power-on. */
function withMsix({ description, msiEventfds }: Shaped<typeof PASSED_DEVICE_1>): PassedDevice {
  return { description: { ...description, msixVectors: 0 }, msiEventfds };
}

function withoutMsix({ description, msiEventfds }: PassedDevice): Shaped<typeof PASSED_DEVICE_1> {
  const { msixVectors, ...known } = description;
  if (msixVectors > 0) throw einval(`${description.bdf} has MSI-X`);
  return { description: known, msiEventfds };
}

const nrVectors = ({ msiVectors, msixVectors }: DeviceDescription): number => Math.max(msiVectors, msixVectors);

/** The eventfds of the vectors. */
export const vectorEventfds = ({ description, msiEventfds }: PassedDevice): readonly number[] =>
  msiEventfds.slice(0, nrVectors(description));

export const intxEventfd = ({ description, msiEventfds }: PassedDevice): number | undefined =>
  msiEventfds[nrVectors(description)];

export type VfioState = StateOf<typeof VFIO_SECTION>;

export const NO_DEVICES: VfioState = { version: 3, container: null, devices: [] };

interface OpenOptions {
  readonly guest?: PersistentGuest | undefined;
  /** Memory alone, or registers, too. */
  readonly peerBars: 'memory' | 'all';
  /** Whether the guest's machine has wires for INTx. */
  readonly wired: boolean;
}

export class PassthroughHost {
  readonly client: KernelClient;
  readonly container: PassthroughContainer;
  readonly devices: readonly PassedDevice[];
  readonly peerBars: PeerBarParts;

  private constructor(
    client: KernelClient,
    container: PassthroughContainer,
    devices: readonly PassedDevice[],
    peerBars: readonly PeerBarState[],
  ) {
    this.client = client;
    this.container = container;
    this.devices = devices;
    this.peerBars = container.mapPeers(
      devices.map(({ description }) => description),
      peerBars,
    ).parts;
  }

  /**
   * Opens the devices `bdfs` and lets them reach guest RAM. `guest`: if it is in memory that
   * outlives the host's kernel. `peerBars`: which BARs of each other they reach. ENODEV: the host
   * has no such device.
   */
  static open(
    socketPath: string,
    bdfs: readonly string[],
    ram: DmaRange & { readonly vaddr: number },
    { guest, peerBars: reached, wired }: OpenOptions,
  ): PassthroughHost {
    const client = new KernelClient(socketPath);
    const { container, devices } = openDevices(client, bdfs, { guest, wired });
    const { vaddr, iova, offset, size } = ram;
    mapRam(container, { iova, offset, size }, vaddr);
    const peerBars = unplaced(
      devices.map(({ description }) => description),
      (device, bar) => (reached === 'all' ? canBeMapped(client, device, bar) : isMemory(client, device, bar)),
    );
    return new PassthroughHost(client, container, devices, peerBars);
  }

  /** The same devices in a new image, which has inherited their fds. */
  static resume(socketPath: string, container: ContainerState, devices: readonly PassedDevice[]): PassthroughHost {
    const client = new KernelClient(socketPath);
    return new PassthroughHost(client, new PassthroughContainer(client, container), devices, container.peerBars);
  }

  /**
   * The same devices under a new kernel of the host. They have never stopped, and their container's
   * page tables are there already; nothing is mapped yet. Returns the state with the new fds.
   */
  static reopen(client: KernelClient, before: VfioState, guest: PersistentGuest): VfioState {
    const bdfs = before.devices.map(({ description: { bdf } }) => bdf);
    const { container, devices } = openDevices(client, bdfs, {
      guest,
      wired: before.devices.some((device) => intxEventfd(device) !== undefined),
    });
    const { ranges, peerBars } = before.container!;
    return { version: 3, container: { ...container.save(), ranges, peerBars }, devices };
  }

  save(): VfioState {
    return { version: 3, container: this.container.save(), devices: this.devices };
  }
}

function openDevices(
  client: KernelClient,
  bdfs: readonly string[],
  { guest, wired }: { readonly guest: PersistentGuest | undefined; readonly wired: boolean },
): { readonly container: PassthroughContainer; readonly devices: readonly PassedDevice[] } {
  const groups = groupsByBdf(client);
  const container = new PassthroughContainer(client, undefined, guest);
  const groupFds = new Map<number, number>();
  const devices = bdfs.map((bdf) => {
    const group = groups.get(bdf);
    if (group === undefined) throw enodev(`the host has no device ${bdf}`);
    const groupFd = groupFds.get(group) ?? container.addGroup(group);
    groupFds.set(group, groupFd);
    const description = describeDevice(client, openDevice(client, groupFd, bdf), bdf);
    const hasIntx = wired && getIrqInfo(client, description.fd, VFIO_PCI_INTX_IRQ_INDEX).count > 0;
    const length = nrVectors(description) + (hasIntx ? 1 : 0);
    const msiEventfds = Array.from({ length }, () => eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    return { description, msiEventfds };
  });
  return { container, devices };
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

/** Prefetchable memory: reads have no side effects (PCI 3.0 §6.2.5.1). */
function isMemory(client: KernelClient, device: DeviceDescription, bar: number): boolean {
  const flags = new Uint8Array(1);
  client.pread(device.fd, device.config.offset + PCI_BASE_ADDRESS_0 + 4 * bar, flags);
  return (flags[0]! & (PCI_BASE_ADDRESS_SPACE_IO | PCI_BASE_ADDRESS_MEM_PREFETCH)) === PCI_BASE_ADDRESS_MEM_PREFETCH;
}

/** Memory or registers that the kernel gives to users (PCI-1): not what has an MSI-X table. */
const canBeMapped = (client: KernelClient, { fd }: DeviceDescription, bar: number): boolean =>
  (getRegionFlags(client, fd, bar) & VFIO_REGION_INFO_FLAG_MMAP) !== 0;
