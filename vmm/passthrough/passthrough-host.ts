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
import { hex } from '../../platform/hex.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd } from '../../platform/libc/eventfd.ts';
import { askHost } from '../client/control.ts';
import { type DeviceDescription, describeDevice, getRegionFlags } from '../client/device.ts';
import { openDevice } from '../client/group.ts';
import { getIrqInfo } from '../client/irqs.ts';
import { KernelClient } from '../client/kernel-client.ts';
import { type ContainerState, type DmaRange, PassthroughContainer } from './container.ts';
import { failed, isAsked, opened, reopened, standIn, takeFailure } from './device-notices.ts';
import { type PeerBarParts, type PeerBarState, type PeerBars, unplaced } from './peer-bars.ts';
import type { PersistentGuest } from './persistent-files.ts';
import { intxEventfd, nrVectors, type PassedDevice, type VfioState } from './vfio-section.ts';

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
  readonly #devices: PassedDevice[];
  readonly #peers: PeerBars;

  private constructor(
    client: KernelClient,
    container: PassthroughContainer,
    devices: readonly PassedDevice[],
    peerBars: readonly PeerBarState[],
  ) {
    this.client = client;
    this.container = container;
    this.#devices = [...devices];
    this.#peers = container.mapPeers(
      devices.map(({ description }) => description),
      peerBars,
    );
  }

  get devices(): readonly PassedDevice[] {
    return this.#devices;
  }

  get peerBars(): PeerBarParts {
    return this.#peers.parts;
  }

  /** By device, the eventfds by which the host asks for it and tells of its errors; −1: none. */
  notices(): number[] {
    return this.#devices.flatMap(({ request, error, gone }) => (gone ? [-1, -1] : [request ?? -1, error ?? -1]));
  }

  /** Whether the host has asked for the device since the last call (PCI-14). */
  isAsked(device: number): boolean {
    return isAsked(this.#devices[device]!);
  }

  /** The first device that has told of an error, which nobody has taken (PCI-13). */
  failure(): PassedDevice | undefined {
    return this.#devices.find(failed);
  }

  /** The devices' errors are over: the machine is reset. */
  takeFailures(): void {
    for (const device of this.#devices) takeFailure(device);
  }

  /**
   * Gives a device back to the host, for good. The guest is at rest, and no thread asks the device
   * for anything any more. Its fds keep their numbers, which other threads have, and are open on
   * nothing.
   */
  release(index: number): void {
    const device = this.#devices[index]!;
    const groups = groupsByBdf(this.client);
    const groupOf = ({ description: { bdf } }: PassedDevice): number | undefined => groups.get(bdf);
    this.#peers.forget(this.client, index);
    this.#devices[index] = { ...device, gone: true };
    this.client.replace(device.description.fd, standIn);
    const isLast = !this.#devices.some((one) => !one.gone && groupOf(one) === groupOf(device));
    if (isLast) this.container.removeGroup(groupOf(device)!);
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
    const armed = devices.map((device) => opened(client, device));
    return new PassthroughHost(client, new PassthroughContainer(client, container), armed, container.peerBars);
  }

  /**
   * The same devices under a new kernel of the host. They have never stopped, and their container's
   * page tables are there already; nothing is mapped yet. Returns the state with the new fds.
   */
  static reopen(client: KernelClient, before: VfioState, guest: PersistentGuest): VfioState {
    const bdfs = before.devices.filter(({ gone }) => !gone).map(({ description: { bdf } }) => bdf);
    const { container, devices } = openDevices(client, bdfs, {
      guest,
      wired: before.devices.some((device) => intxEventfd(device) !== undefined),
    });
    const { ranges, peerBars } = before.container!;
    const all = before.devices.map((device) => (device.gone ? reopened(device) : devices.shift()!));
    return { version: 4, container: { ...container.save(), ranges, peerBars }, devices: all };
  }

  save(): VfioState {
    return { version: 4, container: this.container.save(), devices: this.devices };
  }
}

function openDevices(
  client: KernelClient,
  bdfs: readonly string[],
  { guest, wired }: { readonly guest: PersistentGuest | undefined; readonly wired: boolean },
): { readonly container: PassthroughContainer; readonly devices: PassedDevice[] } {
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
    return opened(client, { description, msiEventfds, request: null, error: null, gone: false });
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
