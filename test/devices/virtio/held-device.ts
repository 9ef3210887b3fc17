/** A driver's hold on the one device of a host, in one kernel: its memory outlives that kernel. */
import { VFIO_PCI_MSIX_IRQ_INDEX } from '../../../iommu/abi/vfio.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd } from '../../../platform/libc/eventfd.ts';
import { close } from '../../../platform/libc/fd.ts';
import { Mapping } from '../../../platform/memory.ts';
import type { HostReady } from '../../../tools/launch/host.ts';
import { joinContainer, openEmptyContainer, setIommu } from '../../../vmm/client/container.ts';
import { describeDevice, enableDevice, VfioDevice } from '../../../vmm/client/device.ts';
import { mapDma, READ_WRITE } from '../../../vmm/client/dma.ts';
import { openDevice } from '../../../vmm/client/group.ts';
import { setIrqs } from '../../../vmm/client/irqs.ts';
import { KernelClient } from '../../../vmm/client/kernel-client.ts';
import {
  createPersistent,
  findPersistent,
  LIVE_UPDATE,
  openPersistent,
  setPersistentTables,
} from '../../../vmm/client/pkernfs.ts';
import { MEMORY_BASE } from './driver.ts';
import type { VirtioRegisters } from './pci-driver.ts';

export const MEMORY_BYTES = 4 * 2 ** 20;
const TYPE1V2 = 3;

export class HeldDevice {
  readonly client: KernelClient;
  readonly registers: VirtioRegisters;
  /** MEMORY_BYTES at iova MEMORY_BASE. */
  readonly ram: Mapping;
  /** Eventfds of the vectors of the queues. */
  readonly events: readonly number[];

  /** `again`: a kernel before had this hold, and the device is as it was left. */
  constructor({ socket, devices }: HostReady, queues: number, { again = false } = {}) {
    const client = new KernelClient(socket);
    const [{ bdf, group }] = devices as [(typeof devices)[number]];
    const container = openEmptyContainer(client);
    setPersistentTables(client, container, openPersistent(client, 'iommu/dom-0'));
    const groupFd = joinContainer(client, group, container);
    setIommu(client, container, TYPE1V2);
    const fd = openDevice(client, groupFd, bdf);
    const object = (again ? findPersistent : createPersistent)(client, 'ram', MEMORY_BYTES);
    const ram = new Mapping(object, MEMORY_BYTES);
    close(object);
    const flags = again ? LIVE_UPDATE : READ_WRITE;
    mapDma(client, container, { iova: MEMORY_BASE, size: MEMORY_BYTES, vaddr: ram.vaddr, flags });
    const events = Array.from({ length: queues }, () => eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    setIrqs(client, fd, { index: VFIO_PCI_MSIX_IRQ_INDEX, start: 1, eventfds: events });
    enableDevice(client, fd);
    const device = new VfioDevice(describeDevice(client, fd, bdf), client);
    this.client = client;
    this.ram = ram;
    this.events = events;
    this.registers = {
      read: (at, size) => device.readBar(4, at, size).lo,
      write: (at, size, value) => device.writeBar(4, at, size, { lo: value >>> 0, hi: 0 }),
    };
  }

  close(): void {
    for (const fd of this.events) close(fd);
  }
}
