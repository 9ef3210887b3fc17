/** A device fd as an actor uses it: the device's registers, and the eventfd behind its one MSI. */
import { VFIO_PCI_MSI_IRQ_INDEX } from '../../../iommu/abi/vfio.ts';
import { enableDevice } from '../../../vmm/client/device.ts';
import { armIrqs, disarmIrqs, triggerIrq } from '../../../vmm/client/irqs.ts';
import { RegionRegisters, type Registers } from '../../../vmm/client/registers.ts';
import type { Caller } from './caller.ts';

const MSI = VFIO_PCI_MSI_IRQ_INDEX;
/** Offset of BAR 0 in the fd (NUM-5). */
const BAR0 = 0;

export class DeviceFile {
  readonly fd: number;
  readonly name: string;
  /** Registers in BAR 0. */
  readonly registers: Registers;
  readonly #caller: Caller;

  constructor(caller: Caller, fd: number, name: string) {
    this.#caller = caller;
    this.fd = fd;
    this.name = name;
    this.registers = new RegionRegisters(caller.client, fd, BAR0);
  }

  enable(): void {
    this.#caller.must(`${this.name}: bus master on`, (client) => enableDevice(client, this.fd));
  }

  /** Makes the MSI signal `eventfd`. With −1 the MSI is enabled and signals nothing. */
  routeMsi(eventfd: number): void {
    this.#caller.must(`${this.name}: MSI to ${eventfd}`, (client) => armIrqs(client, this.fd, MSI, [eventfd]));
  }

  /** Signals the MSI's eventfd as if the device had sent the MSI. */
  loopBack(): void {
    this.#caller.must(`${this.name}: MSI loop-back`, (client) => triggerIrq(client, this.fd, MSI));
  }

  /** Ends MSI mode. */
  disableMsi(): void {
    this.#caller.must(`${this.name}: MSI off`, (client) => disarmIrqs(client, this.fd, MSI));
  }
}
