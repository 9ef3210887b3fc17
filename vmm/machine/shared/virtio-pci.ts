/** A virtio device on the guest's PCI bus, inside the VMM. */

import type { Message } from '../../../devices/kit/msi.ts';
import { MSIX_BAR, MSIX_BAR_BYTES } from '../../../devices/kit/msix.ts';
import type { VirtioDevice } from '../../../devices/virtio/device.ts';
import { type VirtioMessages, VirtioPci } from '../../../devices/virtio/pci.ts';
import { VIRTIO_BAR, VIRTIO_BAR_SIZE } from '../../../devices/virtio/structures.ts';
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import type { Dma } from '../../../iommu/bus/dma.ts';
import type { BarWindow, ConfigSize, PciFunction } from './pci-function.ts';

// PCI 3.0 §6.2
const COMMAND = 0x04;
const COMMAND_MEMORY = 1 << 1;
const COMMAND_MASTER = 1 << 2;
const COMMAND_INTX_DISABLE = 1 << 10;
const BAR0 = 0x10;
const BAR = BAR0 + 4 * VIRTIO_BAR;
const CONFIG_SIZE = 256;

export interface VirtioFunctionParts {
  readonly line: (up: boolean) => void;
  readonly port: Dma;
  /** Vectors of MSI-X; 0: none. */
  readonly vectors: number;
}

export class VirtioPciFunction implements PciFunction {
  readonly configSize = CONFIG_SIZE;
  readonly device: VirtioDevice;
  readonly #registers: VirtioPci;
  readonly #line: (up: boolean) => void;
  readonly #port: Dma;

  /** `line` is INTA of the function, `port` the way of its messages. */
  constructor(device: VirtioDevice, { line, port, vectors }: VirtioFunctionParts) {
    this.device = device;
    this.#registers = new VirtioPci(device, vectors);
    this.#line = line;
    this.#port = port;
    this.#registers.msix?.connect((message) => this.#send(message));
  }

  /** Whether it may make accesses to memory. */
  get isMaster(): boolean {
    return this.#command(COMMAND_MASTER);
  }

  /** To be called when the device's interrupt status may have changed. */
  drive(): void {
    const pending = this.device.isr !== 0 && !this.#registers.msix?.enabled();
    this.#registers.config.setInterruptStatus(pending);
    this.#line(pending && !this.#command(COMMAND_INTX_DISABLE));
  }

  /** The device interrupts: sends the message of that queue, or of the device (undefined). */
  signal(queue: number | undefined): void {
    const { msix } = this.#registers;
    const vector = this.#registers.vectorOf(queue);
    if (!msix?.enabled() || vector === undefined) return;
    if (msix.isMasked(vector)) msix.setPending(vector);
    else this.#send(msix.message(vector));
  }

  /** A function that is no bus master loses its messages. */
  #send({ vpn, offset, data }: Message): boolean {
    const sent = this.isMaster && this.#port.write32(vpn, offset, data);
    this.#port.idle();
    return sent;
  }

  readConfig(offset: number, size: ConfigSize): number {
    return this.#registers.readConfig(offset, size);
  }

  writeConfig(offset: number, size: ConfigSize, value: number): void {
    this.#registers.writeConfig(offset, size, value);
    this.drive();
    this.#registers.msix?.sendPending();
  }

  windows(): readonly BarWindow[] {
    if (!this.#command(COMMAND_MEMORY)) return [];
    const { config, msix } = this.#registers;
    const base = config.get(BAR + 4, 4) * 2 ** 32 + ((config.get(BAR, 4) & ~0xf) >>> 0);
    const structures = { bar: VIRTIO_BAR, base, size: VIRTIO_BAR_SIZE };
    if (!msix) return [structures];
    const table = (config.get(BAR0 + 4 * MSIX_BAR, 4) & ~0xf) >>> 0;
    return [structures, { bar: MSIX_BAR, base: table, size: MSIX_BAR_BYTES }];
  }

  loadBar(bar: number, offset: number, size: AccessSize): bigint {
    return bar === MSIX_BAR ? this.#loadTable(offset, size) : this.#registers.load(offset, size);
  }

  storeBar(bar: number, offset: number, size: AccessSize, value: bigint): void {
    if (bar === MSIX_BAR) this.#storeTable(offset, size, value);
    else this.#registers.store(offset, size, value);
  }

  /** Table and pending bits take 4 and 8 bytes (PCI 3.0 §6.8.2); other reads give 0. */
  #loadTable(offset: number, size: AccessSize): bigint {
    const { msix } = this.#registers;
    if (!msix || size < 4) return 0n;
    const low = BigInt(msix.read(offset).lo >>> 0);
    return size === 8 ? low | (BigInt(msix.read(offset + 4).lo >>> 0) << 32n) : low;
  }

  #storeTable(offset: number, size: AccessSize, value: bigint): void {
    const { msix } = this.#registers;
    if (!msix || size < 4) return;
    msix.write(offset, 4, Number(value & 0xffff_ffffn));
    if (size === 8) msix.write(offset + 4, 4, Number(value >> 32n));
  }

  reset(): void {
    this.#registers.config.reset();
    this.#registers.msix?.reset();
    this.#registers.forgetVectors();
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

  saveMessages(): VirtioMessages {
    return this.#registers.saveMessages();
  }

  restoreMessages(messages: VirtioMessages): void {
    this.#registers.restoreMessages(messages);
  }

  #command(bit: number): boolean {
    return (this.#registers.config.get(COMMAND, 2) & bit) !== 0;
  }
}
