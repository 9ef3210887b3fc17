/** A device fd in an actor's hands: registers of BAR 0, COMMAND, and the eventfd behind its one MSI. */
import {
  IrqSet,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_OFFSET_SHIFT,
} from '../../../iommu/abi/vfio.ts';
import { viewOf } from '../../../platform/struct.ts';
import { Violation } from '../invariants.ts';
import type { Caller } from './caller.ts';

const CONFIG = VFIO_PCI_CONFIG_REGION_INDEX * 2 ** VFIO_PCI_OFFSET_SHIFT;
const COMMAND = 0x04;
const COMMAND_MASTER = 1 << 2;

export class DeviceFile {
  readonly fd: number;
  readonly name: string;
  readonly #caller: Caller;
  readonly #word = new Uint8Array(4);
  readonly #view = viewOf(this.#word);

  constructor(caller: Caller, fd: number, name: string) {
    this.#caller = caller;
    this.fd = fd;
    this.name = name;
  }

  readRegister(offset: number): number {
    const read = this.#caller.client.pread(this.fd, offset, this.#word);
    if (read !== 4) throw new Violation('answer', `${this.name}: pread of register 0x${offset.toString(16)}: ${read}`);
    return this.#view.getUint32(0, true);
  }

  writeRegister(offset: number, value: number): void {
    this.#view.setUint32(0, value >>> 0, true);
    this.#caller.client.pwrite(this.fd, offset, this.#word);
  }

  enableBusMaster(): void {
    this.#caller.must(`${this.name}: bus master on`, (client) => {
      const command = new Uint8Array(2);
      client.pread(this.fd, CONFIG + COMMAND, command);
      command[0]! |= COMMAND_MASTER;
      return client.pwrite(this.fd, CONFIG + COMMAND, command);
    });
  }

  /** The MSI signals `eventfd`; −1: it is enabled and signals nothing. */
  routeMsi(eventfd: number): void {
    const length = IrqSet.size + 4;
    const flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
    const set = IrqSet.bytes({ argsz: length, flags, index: VFIO_PCI_MSI_IRQ_INDEX, start: 0, count: 1 }, length);
    viewOf(set).setInt32(IrqSet.size, eventfd, true);
    this.#setIrqs(`${this.name}: MSI to ${eventfd}`, set);
  }

  /** Signals the MSI's eventfd as if the device had. */
  loopBack(): void {
    const flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
    const set = { argsz: IrqSet.size, flags, index: VFIO_PCI_MSI_IRQ_INDEX, start: 0, count: 1 };
    this.#setIrqs(`${this.name}: MSI loop-back`, IrqSet.bytes(set));
  }

  /** MSI mode ends. */
  disableMsi(): void {
    const flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
    const set = { argsz: IrqSet.size, flags, index: VFIO_PCI_MSI_IRQ_INDEX, start: 0, count: 0 };
    this.#setIrqs(`${this.name}: MSI off`, IrqSet.bytes(set));
  }

  #setIrqs(text: string, set: Uint8Array): void {
    this.#caller.must(text, (client) => client.ioctl(this.fd, VFIO_DEVICE_SET_IRQS, set));
  }
}
