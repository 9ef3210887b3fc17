/**
 * The structures in BAR 4 of a virtio device on PCI (virtio 1.3 §4.1.4), laid out as QEMU does. A
 * field is accessed as wide as it is, with 4 bytes at most (§4.1.3.1).
 */
import type { VirtioDevice, VirtioKind } from './device.ts';
import { isQueueSize, withHalf } from './mmio.ts';
import { CONFIG_AT, NO_VECTOR, REG } from './regs.ts';

export const VIRTIO_BAR = 4;
export const VIRTIO_BAR_SIZE = 0x4000;

export const VIRTIO_BAR_SHAPE = {
  index: VIRTIO_BAR,
  space: 'memory',
  size: VIRTIO_BAR_SIZE,
  width: 64,
  prefetchable: true,
} as const;

/** §4.1.4: kind of structure, its place in BAR 4. */
export const COMMON = { type: 1, offset: 0, length: 0x38 };
export const ISR = { type: 3, offset: REG.ISR, length: 1 };
export const DEVICE = { type: 4, offset: CONFIG_AT, length: 0x1000 };
export const NOTIFY = { type: 2, offset: REG.QUEUE_NOTIFY, length: 0x1000 };
export const NOTIFY_MULTIPLIER = 4;

/** As many as QEMU gives a device: one for each queue and one for the device itself. */
export const defaultVectors = ({ queueSizes }: Pick<VirtioKind, 'queueSizes'>): number => queueSizes.length + 1;

export interface StructureParts {
  /** Vectors of MSI-X; 0: the function has none. */
  readonly nrVectors: number;
  /** The driver has added buffers to a queue. */
  readonly notify: (queue: number) => void;
}

export class VirtioStructures {
  readonly #device: VirtioDevice;
  readonly #parts: StructureParts;
  #deviceVector = NO_VECTOR;
  readonly #queueVectors: number[];

  constructor(device: VirtioDevice, parts: StructureParts) {
    this.#device = device;
    this.#parts = parts;
    this.#queueVectors = device.queues.map(() => NO_VECTOR);
  }

  /** The vector of a queue, or of the device (undefined); undefined if there is none. */
  vectorOf(queue: number | undefined): number | undefined {
    const vector = queue === undefined ? this.#deviceVector : this.#queueVectors[queue]!;
    return vector === NO_VECTOR ? undefined : vector;
  }

  /** The device has been reset: its vectors lead nowhere (§4.1.5.1.2). */
  forgetVectors(): void {
    this.#deviceVector = NO_VECTOR;
    this.#queueVectors.fill(NO_VECTOR);
  }

  saveVectors(): { readonly device: number; readonly queues: number[] } {
    return { device: this.#deviceVector, queues: [...this.#queueVectors] };
  }

  restoreVectors({ device, queues }: { readonly device: number; readonly queues: readonly number[] }): void {
    this.#deviceVector = device;
    for (const queue of this.#queueVectors.keys()) this.#queueVectors[queue] = queues[queue] ?? NO_VECTOR;
  }

  read(offset: number, size: number): number {
    if (offset >= NOTIFY.offset) return 0;
    if (offset >= DEVICE.offset) return this.#device.readConfig(offset - DEVICE.offset, size);
    if (offset >= ISR.offset) return offset === ISR.offset ? this.#takeIsr() : 0;
    return this.#readCommon(offset);
  }

  /** ISR and configuration are read only. */
  write(offset: number, value: number): void {
    if (offset >= NOTIFY.offset) this.#parts.notify(Math.floor((offset - NOTIFY.offset) / NOTIFY_MULTIPLIER));
    else if (offset < ISR.offset) this.#writeCommon(offset, value);
  }

  /** A vector that the function does not have reads back as none. */
  #known(vector: number): number {
    return vector < this.#parts.nrVectors ? vector : NO_VECTOR;
  }

  /** §4.1.4.5: reading it acknowledges. */
  #takeIsr(): number {
    const bits = this.#device.isr;
    this.#device.acknowledge(bits);
    return bits;
  }

  /** §4.1.4.3 */
  #readCommon(offset: number): number {
    const device = this.#device;
    const queue = device.selected;
    switch (offset) {
      case REG.DEVICE_FEATURE_SELECT:
        return device.deviceSelect;
      case REG.DEVICE_FEATURE:
        return device.offeredHalf();
      case REG.DRIVER_FEATURE_SELECT:
        return device.driverSelect;
      case REG.DRIVER_FEATURE:
        return device.acceptedHalf();
      case REG.CONFIG_MSIX_VECTOR:
        return this.#deviceVector;
      case REG.QUEUE_MSIX_VECTOR:
        return this.#queueVectors[device.queueSelect] ?? NO_VECTOR;
      case REG.NUM_QUEUES:
        return device.queues.length;
      case REG.DEVICE_STATUS:
        return device.status;
      case REG.QUEUE_SELECT:
        return device.queueSelect;
      case REG.QUEUE_SIZE:
        return queue?.size ?? 0;
      case REG.QUEUE_ENABLE:
        return queue?.ready ? 1 : 0;
      case REG.QUEUE_NOTIFY_OFF:
        return device.queueSelect;
      case REG.QUEUE_DESC:
      case REG.QUEUE_DESC + 4:
        return half(queue?.desc ?? 0, offset - REG.QUEUE_DESC);
      case REG.QUEUE_DRIVER:
      case REG.QUEUE_DRIVER + 4:
        return half(queue?.driver ?? 0, offset - REG.QUEUE_DRIVER);
      case REG.QUEUE_DEVICE:
      case REG.QUEUE_DEVICE + 4:
        return half(queue?.device ?? 0, offset - REG.QUEUE_DEVICE);
      default:
        return 0; // also config_generation: the configuration never changes
    }
  }

  #writeCommon(offset: number, value: number): void {
    const device = this.#device;
    const queue = device.selected;
    switch (offset) {
      case REG.DEVICE_FEATURE_SELECT:
        device.deviceSelect = value;
        return;
      case REG.DRIVER_FEATURE_SELECT:
        device.driverSelect = value;
        return;
      case REG.DRIVER_FEATURE:
        device.accept(value);
        return;
      case REG.CONFIG_MSIX_VECTOR:
        this.#deviceVector = this.#known(value);
        return;
      case REG.DEVICE_STATUS:
        device.status = value & 0xff;
        if (device.status === 0) this.forgetVectors();
        return;
      case REG.QUEUE_SELECT:
        device.queueSelect = value & 0xffff;
        return;
    }
    if (!queue) return;
    switch (offset) {
      case REG.QUEUE_SIZE:
        if (isQueueSize(value, queue.maxSize)) queue.size = value;
        return;
      case REG.QUEUE_MSIX_VECTOR:
        this.#queueVectors[device.queueSelect] = this.#known(value);
        return;
      case REG.QUEUE_ENABLE:
        if (value === 1) queue.ready = true; // only a reset takes it back (§4.1.4.3.2)
        return;
      case REG.QUEUE_DESC:
      case REG.QUEUE_DESC + 4:
        queue.desc = withHalf(queue.desc, offset - REG.QUEUE_DESC, value);
        return;
      case REG.QUEUE_DRIVER:
      case REG.QUEUE_DRIVER + 4:
        queue.driver = withHalf(queue.driver, offset - REG.QUEUE_DRIVER, value);
        return;
      case REG.QUEUE_DEVICE:
      case REG.QUEUE_DEVICE + 4:
        queue.device = withHalf(queue.device, offset - REG.QUEUE_DEVICE, value);
        return;
    }
  }
}

const half = (address: number, at: number): number => (at === 0 ? address % 2 ** 32 : Math.floor(address / 2 ** 32));
