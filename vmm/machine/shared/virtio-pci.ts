/** A virtio device on the guest's PCI bus, inside the VMM. */
import type { VirtioDevice } from '../../../devices/virtio/device.ts';
import { VIRTIO_BAR, VIRTIO_BAR_SIZE, VirtioPci } from '../../../devices/virtio/pci.ts';
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import type { BarWindow, ConfigSize, PciFunction } from './pci-function.ts';

// PCI 3.0 §6.2
const COMMAND = 0x04;
const COMMAND_MEMORY = 1 << 1;
const COMMAND_MASTER = 1 << 2;
const COMMAND_INTX_DISABLE = 1 << 10;
const BAR = 0x10 + 4 * VIRTIO_BAR;
const CONFIG_SIZE = 256;

export class VirtioPciFunction implements PciFunction {
  readonly configSize = CONFIG_SIZE;
  readonly device: VirtioDevice;
  readonly #registers: VirtioPci;
  readonly #line: (up: boolean) => void;

  /** `line` is INTA of the function. */
  constructor(device: VirtioDevice, line: (up: boolean) => void) {
    this.device = device;
    this.#registers = new VirtioPci(device);
    this.#line = line;
  }

  /** Whether it may make accesses to memory. */
  get isMaster(): boolean {
    return this.#command(COMMAND_MASTER);
  }

  /** To be called when the device's interrupt status may have changed. */
  drive(): void {
    const pending = this.device.isr !== 0;
    this.#registers.config.setInterruptStatus(pending);
    this.#line(pending && !this.#command(COMMAND_INTX_DISABLE));
  }

  readConfig(offset: number, size: ConfigSize): number {
    return this.#registers.readConfig(offset, size);
  }

  writeConfig(offset: number, size: ConfigSize, value: number): void {
    this.#registers.writeConfig(offset, size, value);
    this.drive();
  }

  windows(): readonly BarWindow[] {
    if (!this.#command(COMMAND_MEMORY)) return [];
    const { config } = this.#registers;
    const base = config.get(BAR + 4, 4) * 2 ** 32 + ((config.get(BAR, 4) & ~0xf) >>> 0);
    return [{ bar: VIRTIO_BAR, base, size: VIRTIO_BAR_SIZE }];
  }

  loadBar(_bar: number, offset: number, size: AccessSize): bigint {
    return this.#registers.load(offset, size);
  }

  storeBar(_bar: number, offset: number, size: AccessSize, value: bigint): void {
    this.#registers.store(offset, size, value);
  }

  reset(): void {
    this.#registers.config.reset();
    this.device.reset();
  }

  saveConfig(): Uint8Array {
    return Uint8Array.from({ length: CONFIG_SIZE }, (_, at) => this.#registers.config.get(at, 1));
  }

  restoreConfig(bytes: Uint8Array): void {
    bytes.forEach((byte, at) => {
      this.#registers.config.set(at, 1, byte);
    });
  }

  #command(bit: number): boolean {
    return (this.#registers.config.get(COMMAND, 2) & bit) !== 0;
  }
}
