/** A VFIO device fd as a VMM uses it: its description, its regions, its interrupts. */
import { PCI_COMMAND, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY } from '../../iommu/abi/pci-regs.ts';
import {
  DeviceInfo,
  RegionInfo,
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_RESET,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_PCI_BAR5_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_ROM_REGION_INDEX,
} from '../../iommu/abi/vfio.ts';
import { enodev } from '../../platform/errno.ts';
import { fd } from '../../platform/fd-shape.ts';
import type { Halves } from '../../platform/mailbox.ts';
import { flag, integer, list, object, type Shaped, text } from '../../platform/shape.ts';
import type { SharedPart } from '../../platform/shared.ts';
import { viewOf } from '../../platform/struct.ts';
import { armIrqs, disarmIrqs, getIrqInfo, setIrqs } from './irqs.ts';
import { type AccessSize, RegisterAccess } from './register-access.ts';
import type { FileCalls } from './task-channel.ts';

/** [offset, offset+size) of the device fd; size 0 for a region the device does not have. */
const REGION = object({ offset: integer, size: integer });

export type Region = Shaped<typeof REGION>;

/** The facts that the kernel is asked for once, when the device is opened. They survive updates. */
const FACTS = {
  bdf: text,
  fd,
  resettable: flag,
  /** BAR 0–5. */
  bars: list(REGION, 6),
  config: REGION,
  msiVectors: integer,
};

/** Without MSI-X (0.1.0). */
export const DEVICE_DESCRIPTION_1 = object(FACTS);

/** Without expansion ROM. */
export const DEVICE_DESCRIPTION_2 = object({ ...FACTS, msixVectors: integer });

export const DEVICE_DESCRIPTION = object({ ...FACTS, msixVectors: integer, rom: REGION });

export type DeviceDescription = Shaped<typeof DEVICE_DESCRIPTION>;

/** Reads a device's INFO, REGION_INFO and IRQ_INFO. ENODEV: not a PCI device. */
export function describeDevice(calls: FileCalls, fd: number, bdf: string): DeviceDescription {
  const flags = getDeviceFlags(calls, fd);
  if ((flags & VFIO_DEVICE_FLAGS_PCI) === 0) throw enodev(`${bdf} is not a PCI device`);
  const bars: Region[] = [];
  for (let bar = 0; bar <= VFIO_PCI_BAR5_REGION_INDEX; bar++) bars.push(getRegion(calls, fd, bar));
  return {
    bdf,
    fd,
    resettable: (flags & VFIO_DEVICE_FLAGS_RESET) !== 0,
    bars,
    config: getRegion(calls, fd, VFIO_PCI_CONFIG_REGION_INDEX),
    rom: getRegion(calls, fd, VFIO_PCI_ROM_REGION_INDEX),
    msiVectors: getIrqInfo(calls, fd, VFIO_PCI_MSI_IRQ_INDEX).count,
    msixVectors: getIrqInfo(calls, fd, VFIO_PCI_MSIX_IRQ_INDEX).count,
  };
}

/** VFIO_DEVICE_GET_INFO: VFIO_DEVICE_FLAGS_* of struct vfio_device_info. */
export function getDeviceFlags(calls: FileCalls, device: number): number {
  const info = DeviceInfo.bytes({ argsz: DeviceInfo.size });
  calls.ioctl(device, VFIO_DEVICE_GET_INFO, info);
  return DeviceInfo.read(viewOf(info)).flags;
}

/**
 * VFIO_DEVICE_GET_REGION_INFO: offset and size of struct vfio_region_info. EINVAL: the device has
 * no such index.
 */
export function getRegion(calls: FileCalls, device: number, index: number): Region {
  const info = RegionInfo.bytes({ argsz: RegionInfo.size, index });
  calls.ioctl(device, VFIO_DEVICE_GET_REGION_INFO, info);
  const { offset, size } = RegionInfo.read(viewOf(info));
  return { offset: Number(offset), size: Number(size) };
}

/** VFIO_DEVICE_GET_REGION_INFO: VFIO_REGION_INFO_FLAG_*. EINVAL as getRegion. */
export function getRegionFlags(calls: FileCalls, device: number, index: number): number {
  const info = RegionInfo.bytes({ argsz: RegionInfo.size, index });
  calls.ioctl(device, VFIO_DEVICE_GET_REGION_INFO, info);
  return RegionInfo.read(viewOf(info)).flags;
}

/**
 * Sets COMMAND.MEMORY and COMMAND.MASTER. From now on the device's BARs answer, and the device may
 * do DMA and send MSIs.
 */
export function enableDevice(calls: FileCalls, device: number): void {
  const { offset } = getRegion(calls, device, VFIO_PCI_CONFIG_REGION_INDEX);
  const command = new Uint8Array(2);
  calls.pread(device, offset + PCI_COMMAND, command);
  command[0]! |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
  calls.pwrite(device, offset + PCI_COMMAND, command);
}

/** Writes COMMAND (PCI_COMMAND_*). */
export function setCommand(calls: FileCalls, device: number, command: number): void {
  const { offset } = getRegion(calls, device, VFIO_PCI_CONFIG_REGION_INDEX);
  calls.pwrite(device, offset + PCI_COMMAND, Uint8Array.of(command & 0xff, command >> 8));
}

/** VFIO_DEVICE_RESET. EINVAL: the device cannot be reset. */
export function resetDevice(calls: FileCalls, device: number): void {
  calls.ioctl(device, VFIO_DEVICE_RESET, 0);
}

/** A range of guest memory at which a BAR answers. */
export interface PlacedBar {
  readonly bar: number;
  readonly base: number;
}

export interface DeviceExtras {
  /** Lets other devices reach the BARs there and nowhere else. */
  readonly placeBars?: (bars: readonly PlacedBar[]) => void;
  /** Whether the device has been given back. It is asked for nothing then. */
  readonly isGone?: () => boolean;
  /** The thread's register page of the device. Default: it is asked for when there is work. */
  readonly page?: SharedPart;
}

/** A device as one thread uses it. */
export class VfioDevice {
  readonly description: DeviceDescription;
  readonly #calls: FileCalls;
  readonly #registers: RegisterAccess;
  /** Lets other devices reach the BARs there and nowhere else. */
  readonly placeBars: (bars: readonly PlacedBar[]) => void;
  readonly isGone: () => boolean;

  constructor(description: DeviceDescription, calls: FileCalls, extras: DeviceExtras = {}) {
    const { placeBars = () => {}, isGone = () => false, page } = extras;
    this.description = description;
    this.#calls = calls;
    this.placeBars = placeBars;
    this.isGone = isGone;
    this.#registers = new RegisterAccess(calls, description.fd, page);
  }

  readConfig(offset: number, into: Uint8Array): void {
    const { config, fd } = this.description;
    this.#fill(into, this.#calls.pread(fd, config.offset + offset, into));
  }

  writeConfig(offset: number, bytes: Uint8Array): void {
    const { config, fd } = this.description;
    this.#calls.pwrite(fd, config.offset + offset, bytes);
  }

  /** A load from a BAR; beyond its end nobody answers. The value is good until the next access. */
  readBar(bar: number, offset: number, size: AccessSize): Halves {
    this.#registers.load(bar, offset, size);
    return this.#registers;
  }

  /** A store to a BAR, of `lo` and, if there are 8 bytes, `hi`. */
  writeBar(bar: number, offset: number, size: AccessSize, { lo, hi }: Halves): void {
    this.#registers.store(bar, offset, size, lo, hi);
  }

  readRom(offset: number, into: Uint8Array): void {
    const { rom, fd } = this.description;
    this.#fill(into, this.#calls.pread(fd, rom.offset + offset, into));
  }

  /** MSI vectors 0… signal these eventfds from now on (PCI-4). */
  armMsi(eventfds: readonly number[]): void {
    armIrqs(this.#calls, this.description.fd, VFIO_PCI_MSI_IRQ_INDEX, eventfds);
  }

  /** Takes the device out of MSI mode (PCI-4: count 0, DATA_NONE). */
  disarmMsi(): void {
    disarmIrqs(this.#calls, this.description.fd, VFIO_PCI_MSI_IRQ_INDEX);
  }

  /** The INTx line signals this eventfd from now on, and masks itself whenever it does (PCI-9). */
  armIntx(eventfd: number): void {
    armIrqs(this.#calls, this.description.fd, VFIO_PCI_INTX_IRQ_INDEX, [eventfd]);
  }

  disarmIntx(): void {
    disarmIrqs(this.#calls, this.description.fd, VFIO_PCI_INTX_IRQ_INDEX);
  }

  /** The line may interrupt again; it does at once if it is up. */
  unmaskIntx(): void {
    const action = VFIO_IRQ_SET_ACTION_UNMASK;
    setIrqs(this.#calls, this.description.fd, { index: VFIO_PCI_INTX_IRQ_INDEX, action });
  }

  /** MSI-X vectors start… signal these eventfds from now on; −1: the vector is masked (PCI-12). */
  armMsix(start: number, eventfds: readonly number[]): void {
    setIrqs(this.#calls, this.description.fd, { index: VFIO_PCI_MSIX_IRQ_INDEX, start, eventfds });
  }

  disarmMsix(): void {
    disarmIrqs(this.#calls, this.description.fd, VFIO_PCI_MSIX_IRQ_INDEX);
  }

  /** Resets the device if it can be reset (PCI-6). */
  reset(): void {
    if (this.description.resettable) resetDevice(this.#calls, this.description.fd);
  }

  /** Beyond the region nobody answers. */
  #fill(into: Uint8Array, count: number): void {
    if (count < into.length) into.fill(0xff, count);
  }
}
