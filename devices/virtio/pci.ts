/**
 * A virtio device as a PCI function (virtio 1.3 §4.1), the modern interface: structures in BAR 4,
 * found by capabilities, laid out as QEMU does. It interrupts by INTx, or by MSI-X, which has a
 * vector for each queue and one for the device.
 */
import { integer, list, nullable, object, type Shaped } from '../../platform/shape.ts';
import type { Identity } from '../kit/config-space.ts';
import { ConfigSpace } from '../kit/config-space.ts';
import { MSIX_BAR, MSIX_BAR_BYTES, MSIX_STATE, MsixCapability } from '../kit/msix.ts';
import type { VirtioDevice, VirtioKind } from './device.ts';
import { isQueueSize, withHalf } from './mmio.ts';

export const VIRTIO_BAR = 4;
export const VIRTIO_BAR_SIZE = 0x4000;
const VENDOR_CAPABILITY = 9;
const CAPABILITY = 16;
/** §4.1.4: kind of structure, its place in BAR 4. */
const COMMON = { type: 1, offset: 0x0000, length: 0x38 };
const ISR = { type: 3, offset: 0x1000, length: 1 };
const DEVICE = { type: 4, offset: 0x2000, length: 0x1000 };
const NOTIFY = { type: 2, offset: 0x3000, length: 0x1000 };
const PCI_CFG = 5;
const NOTIFY_MULTIPLIER = 4;
const NO_VECTOR = 0xffff;

/** What a save keeps beside the configuration space. */
export const VIRTIO_MESSAGES = object({
  /** Vectors of the device and of its queues, 0xffff for none (§4.1.5.1.2). */
  device: integer,
  queues: list(integer),
  table: nullable(MSIX_STATE),
});

export type VirtioMessages = Shaped<typeof VIRTIO_MESSAGES>;

/** As many as QEMU gives a device: one for each queue and one for the device itself. */
export const defaultVectors = ({ queueSizes }: VirtioKind): number => queueSizes.length + 1;

const identity = ({ id, classCode }: VirtioDevice['kind']): Identity => ({
  vendor: 0x1af4,
  device: 0x1040 + id,
  classCode,
  revision: 1,
  subsystemVendor: 0x1af4,
  subsystem: 0x1100,
  interruptPin: 1,
});

export class VirtioPci {
  readonly config: ConfigSpace;
  readonly #device: VirtioDevice;
  /** Where the capability is by which BARs can be reached through configuration space. */
  readonly #window: number;

  /** Undefined: the function has INTx only. */
  readonly msix: MsixCapability | undefined;
  #deviceVector = NO_VECTOR;
  readonly #queueVectors: number[];

  /** `vectors`: those of MSI-X; 0: it has none. */
  constructor(device: VirtioDevice, vectors: number) {
    this.#device = device;
    this.#queueVectors = device.queues.map(() => NO_VECTOR);
    const table = { index: MSIX_BAR, space: 'memory', size: MSIX_BAR_BYTES, width: 32, prefetchable: false } as const;
    const bar = { index: VIRTIO_BAR, space: 'memory', size: VIRTIO_BAR_SIZE, width: 64, prefetchable: true } as const;
    this.config = new ConfigSpace(identity(device.kind), vectors > 0 ? [table, bar] : [bar]);
    for (const structure of [COMMON, ISR, DEVICE]) this.#addCapability(structure, CAPABILITY);
    const notify = this.#addCapability(NOTIFY, CAPABILITY + 4);
    this.config.set(notify + CAPABILITY, 4, NOTIFY_MULTIPLIER);
    this.#window = this.#addCapability({ type: PCI_CFG, offset: 0, length: 0 }, CAPABILITY + 4);
    this.config.set(this.#window + 4, 1, 0);
    this.config.allow(this.#window + 4, 1, 0xff);
    this.config.allow(this.#window + 8, 4, 0xffff_ffff);
    this.config.allow(this.#window + 12, 4, 0xffff_ffff);
    this.config.allow(this.#window + 16, 4, 0xffff_ffff);
    if (vectors > 0) this.msix = new MsixCapability(this.config, vectors);
    this.config.complete();
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

  saveMessages(): VirtioMessages {
    return { device: this.#deviceVector, queues: [...this.#queueVectors], table: this.msix?.save() ?? null };
  }

  restoreMessages({ device, queues, table }: VirtioMessages): void {
    this.#deviceVector = device;
    for (const queue of this.#queueVectors.keys()) this.#queueVectors[queue] = queues[queue] ?? NO_VECTOR;
    if (table) this.msix?.restore(table);
  }

  /** A configuration read; ones where nothing answers. */
  readConfig(offset: number, size: number): number {
    if (offset === this.#window + 16)
      this.#throughWindow((at, length) => this.config.set(offset, 4, Number(this.load(at, length))));
    return this.config.read(offset, size).lo >>> 0;
  }

  writeConfig(offset: number, size: number, value: number): void {
    this.config.write(offset, size, value);
    if (offset === this.#window + 16)
      this.#throughWindow((at, length) => this.store(at, length, BigInt(this.config.get(offset, 4))));
  }

  /** A load from BAR 4, zero extended. Fields are accessed as wide as they are (§4.1.3.1). */
  load(offset: number, size: number): bigint {
    if (offset >= NOTIFY.offset) return 0n;
    if (offset >= DEVICE.offset) return this.#device.readConfig(offset - DEVICE.offset, size);
    if (offset >= ISR.offset) return offset === ISR.offset ? this.#takeIsr() : 0n;
    if (size === 8) return this.load(offset, 4) | (this.load(offset + 4, 4) << 32n);
    return BigInt(this.#readCommon(offset));
  }

  store(offset: number, size: number, value: bigint): void {
    if (offset >= NOTIFY.offset) this.#device.notify((offset - NOTIFY.offset) / NOTIFY_MULTIPLIER);
    else if (offset >= ISR.offset)
      return; // ISR and configuration are read only
    else if (size === 8) {
      this.#writeCommon(offset, Number(value & 0xffff_ffffn));
      this.#writeCommon(offset + 4, Number(value >> 32n));
    } else this.#writeCommon(offset, Number(value));
  }

  /** A vector that the function does not have reads back as none. */
  #known(vector: number): number {
    return vector < (this.msix?.nrVectors ?? 0) ? vector : NO_VECTOR;
  }

  #addCapability({ type, offset, length }: { type: number; offset: number; length: number }, size: number): number {
    const at = this.config.addCapability(VENDOR_CAPABILITY, size);
    this.config.set(at + 2, 1, size);
    this.config.set(at + 3, 1, type);
    this.config.set(at + 4, 1, VIRTIO_BAR);
    this.config.set(at + 8, 4, offset);
    this.config.set(at + 12, 4, length);
    return at;
  }

  /** §4.1.4.9: the access that bar, offset and length of the capability describe. */
  #throughWindow(access: (at: number, length: number) => void): void {
    const [bar, at, length] = [
      this.config.get(this.#window + 4, 1),
      this.config.get(this.#window + 8, 4),
      this.config.get(this.#window + 12, 4),
    ];
    if (bar === VIRTIO_BAR && [1, 2, 4].includes(length) && at % length === 0 && at + length <= VIRTIO_BAR_SIZE) {
      access(at, length);
    }
  }

  /** §4.1.4.5: reading it acknowledges. */
  #takeIsr(): bigint {
    const bits = this.#device.isr;
    this.#device.acknowledge(bits);
    return BigInt(bits);
  }

  /** §4.1.4.3 */
  #readCommon(offset: number): number {
    const device = this.#device;
    const queue = device.selected;
    switch (offset) {
      case 0x00:
        return device.deviceSelect;
      case 0x04:
        return device.offeredHalf();
      case 0x08:
        return device.driverSelect;
      case 0x0c:
        return device.acceptedHalf();
      case 0x10:
        return this.#deviceVector;
      case 0x1a:
        return this.#queueVectors[device.queueSelect] ?? NO_VECTOR;
      case 0x12:
        return device.queues.length;
      case 0x14:
        return device.status;
      case 0x16:
        return device.queueSelect;
      case 0x18:
        return queue?.size ?? 0;
      case 0x1c:
        return queue?.ready ? 1 : 0;
      case 0x1e:
        return device.queueSelect;
      case 0x20:
      case 0x24:
        return half(queue?.desc ?? 0, offset - 0x20);
      case 0x28:
      case 0x2c:
        return half(queue?.driver ?? 0, offset - 0x28);
      case 0x30:
      case 0x34:
        return half(queue?.device ?? 0, offset - 0x30);
      default:
        return 0; // also config_generation: the configuration never changes
    }
  }

  #writeCommon(offset: number, value: number): void {
    const device = this.#device;
    const queue = device.selected;
    switch (offset) {
      case 0x00:
        device.deviceSelect = value;
        return;
      case 0x08:
        device.driverSelect = value;
        return;
      case 0x0c:
        device.accept(value);
        return;
      case 0x10:
        this.#deviceVector = this.#known(value);
        return;
      case 0x14:
        device.status = value & 0xff;
        if (device.status === 0) this.forgetVectors();
        return;
      case 0x16:
        device.queueSelect = value & 0xffff;
        return;
    }
    if (!queue) return;
    switch (offset) {
      case 0x18:
        if (isQueueSize(value, queue.maxSize)) queue.size = value;
        return;
      case 0x1a:
        this.#queueVectors[device.queueSelect] = this.#known(value);
        return;
      case 0x1c:
        if (value === 1) queue.ready = true; // only a reset takes it back (§4.1.4.3.2)
        return;
      case 0x20:
      case 0x24:
        queue.desc = withHalf(queue.desc, offset - 0x20, value);
        return;
      case 0x28:
      case 0x2c:
        queue.driver = withHalf(queue.driver, offset - 0x28, value);
        return;
      case 0x30:
      case 0x34:
        queue.device = withHalf(queue.device, offset - 0x30, value);
        return;
    }
  }
}

const half = (address: number, at: number): number => (at === 0 ? address % 2 ** 32 : Math.floor(address / 2 ** 32));
