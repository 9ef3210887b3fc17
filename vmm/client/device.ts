/** A VFIO device fd as a VMM uses it: what the device has, its regions, its interrupts. */
import {
  DeviceInfo,
  IrqInfo,
  IrqSet,
  RegionInfo,
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_RESET,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_BAR5_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
} from '../../iommu/abi/vfio.ts';
import { enodev } from '../../platform/errno.ts';
import { flag, integer, list, object, type Shaped, text } from '../../platform/shape.ts';
import { viewOf } from '../../platform/struct.ts';
import type { TaskChannel } from './task-channel.ts';

/** [offset, offset+size) of the device fd; size 0 for a region the device does not have. */
const REGION = object({ offset: integer, size: integer });

export type Region = Shaped<typeof REGION>;

/** What is asked of the kernel once, when the device is opened; survives updates. */
export const DEVICE_DESCRIPTION = object({
  bdf: text,
  fd: integer,
  resettable: flag,
  /** BAR 0–5. */
  bars: list(REGION, 6),
  config: REGION,
  msiVectors: integer,
});

export type DeviceDescription = Shaped<typeof DEVICE_DESCRIPTION>;

/** Reads a device's INFO, REGION_INFO and IRQ_INFO. ENODEV: not a PCI device. */
export function describeDevice(client: TaskChannel, fd: number, bdf: string): DeviceDescription {
  const info = DeviceInfo.bytes({ argsz: DeviceInfo.size });
  client.ioctl(fd, VFIO_DEVICE_GET_INFO, info);
  const { flags } = DeviceInfo.read(viewOf(info));
  if ((flags & VFIO_DEVICE_FLAGS_PCI) === 0) throw enodev(`${bdf} is not a PCI device`);
  const bars: Region[] = [];
  for (let bar = 0; bar <= VFIO_PCI_BAR5_REGION_INDEX; bar++) bars.push(regionInfo(client, fd, bar));
  return {
    bdf,
    fd,
    resettable: (flags & VFIO_DEVICE_FLAGS_RESET) !== 0,
    bars,
    config: regionInfo(client, fd, VFIO_PCI_CONFIG_REGION_INDEX),
    msiVectors: irqCount(client, fd, VFIO_PCI_MSI_IRQ_INDEX),
  };
}

function regionInfo(client: TaskChannel, fd: number, index: number): Region {
  const info = RegionInfo.bytes({ argsz: RegionInfo.size, index });
  client.ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, info);
  const { offset, size } = RegionInfo.read(viewOf(info));
  return { offset: Number(offset), size: Number(size) };
}

function irqCount(client: TaskChannel, fd: number, index: number): number {
  const info = IrqInfo.bytes({ argsz: IrqInfo.size, index });
  client.ioctl(fd, VFIO_DEVICE_GET_IRQ_INFO, info);
  return IrqInfo.read(viewOf(info)).count;
}

/** One thread's way to a device. */
export class VfioDevice {
  readonly description: DeviceDescription;
  readonly #client: TaskChannel;

  constructor(description: DeviceDescription, client: TaskChannel) {
    this.description = description;
    this.#client = client;
  }

  readConfig(offset: number, into: Uint8Array): void {
    this.#read(this.description.config, offset, into);
  }

  writeConfig(offset: number, bytes: Uint8Array): void {
    this.#write(this.description.config, offset, bytes);
  }

  readBar(bar: number, offset: number, into: Uint8Array): void {
    this.#read(this.description.bars[bar]!, offset, into);
  }

  writeBar(bar: number, offset: number, bytes: Uint8Array): void {
    this.#write(this.description.bars[bar]!, offset, bytes);
  }

  /** MSI vectors 0… signal these eventfds from now on (PCI-4). */
  armMsi(eventfds: readonly number[]): void {
    const length = IrqSet.size + 4 * eventfds.length;
    const set = IrqSet.bytes(
      {
        argsz: length,
        flags: VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
        index: VFIO_PCI_MSI_IRQ_INDEX,
        start: 0,
        count: eventfds.length,
      },
      length,
    );
    const view = viewOf(set);
    for (const [vector, fd] of eventfds.entries()) view.setInt32(IrqSet.size + 4 * vector, fd, true);
    this.#client.ioctl(this.description.fd, VFIO_DEVICE_SET_IRQS, set);
  }

  /** Takes the device out of MSI mode (PCI-4: count 0, DATA_NONE). */
  disarmMsi(): void {
    const flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
    const set = IrqSet.bytes({ argsz: IrqSet.size, flags, index: VFIO_PCI_MSI_IRQ_INDEX, start: 0, count: 0 });
    this.#client.ioctl(this.description.fd, VFIO_DEVICE_SET_IRQS, set);
  }

  /** Resets the device where it can be (PCI-6). */
  reset(): void {
    if (this.description.resettable) this.#client.ioctl(this.description.fd, VFIO_DEVICE_RESET, 0);
  }

  #read(region: Region, offset: number, into: Uint8Array): void {
    const count = this.#client.pread(this.description.fd, region.offset + offset, into);
    into.fill(0xff, count); // beyond the region: nobody answers
  }

  #write(region: Region, offset: number, bytes: Uint8Array): void {
    this.#client.pwrite(this.description.fd, region.offset + offset, bytes);
  }
}
