/**
 * A virtio device as a PCI function of its own (virtio 1.3 §4.1), the modern interface: without the
 * kit's endpoint, for functions inside the VMM. It interrupts by INTx, or by MSI-X, which has a
 * vector for each queue and one for the device.
 */
import { integer, list, nullable, object, type Shaped } from '../../platform/shape.ts';
import { ConfigSpace } from '../kit/config-space.ts';
import { MSIX_BAR, MSIX_BAR_BYTES, MSIX_STATE, MsixCapability } from '../kit/msix.ts';
import { addVirtioCapabilities, ConfigWindow, virtioIdentity } from './capabilities.ts';
import type { VirtioDevice } from './device.ts';
import { VIRTIO_BAR_SHAPE, VirtioStructures } from './structures.ts';

/** What a save keeps beside the configuration space. */
export const VIRTIO_MESSAGES = object({
  /** Vectors of the device and of its queues, 0xffff for none (§4.1.5.1.2). */
  device: integer,
  queues: list(integer),
  table: nullable(MSIX_STATE),
});

export type VirtioMessages = Shaped<typeof VIRTIO_MESSAGES>;

const TABLE = { index: MSIX_BAR, space: 'memory', size: MSIX_BAR_BYTES, width: 32, prefetchable: false } as const;

export class VirtioPci {
  readonly config: ConfigSpace;
  readonly #structures: VirtioStructures;
  readonly #window: ConfigWindow;
  /** Undefined: the function has INTx only. */
  readonly msix: MsixCapability | undefined;

  /** `vectors`: those of MSI-X; 0: it has none. */
  constructor(device: VirtioDevice, vectors: number) {
    const bars = vectors > 0 ? [TABLE, VIRTIO_BAR_SHAPE] : [VIRTIO_BAR_SHAPE];
    this.config = new ConfigSpace(virtioIdentity(device.kind), bars);
    addVirtioCapabilities(this.config);
    if (vectors > 0) this.msix = new MsixCapability(this.config, vectors);
    this.config.complete();
    const notify = (queue: number): void => void device.notify(queue);
    this.#structures = new VirtioStructures(device, { nrVectors: vectors, notify });
    this.#window = new ConfigWindow(this.config, this.#structures);
  }

  /** The vector of a queue, or of the device (undefined); undefined if there is none. */
  vectorOf(queue: number | undefined): number | undefined {
    return this.#structures.vectorOf(queue);
  }

  /** The device has been reset: its vectors lead nowhere (§4.1.5.1.2). */
  forgetVectors(): void {
    this.#structures.forgetVectors();
  }

  saveMessages(): VirtioMessages {
    return { ...this.#structures.saveVectors(), table: this.msix?.save() ?? null };
  }

  restoreMessages({ table, ...vectors }: VirtioMessages): void {
    this.#structures.restoreVectors(vectors);
    if (table) this.msix?.restore(table);
  }

  /** A configuration read; ones where nothing answers. */
  readConfig(offset: number, size: number): number {
    this.#window.beforeRead(offset);
    return this.config.read(offset, size).lo >>> 0;
  }

  writeConfig(offset: number, size: number, value: number): void {
    this.config.write(offset, size, value);
    this.#window.written(offset);
  }

  /** A load from BAR 4, zero extended; one of 8 bytes is two of 4. */
  load(offset: number, size: number): bigint {
    if (size === 8) return this.load(offset, 4) | (this.load(offset + 4, 4) << 32n);
    return BigInt(this.#structures.read(offset, size) >>> 0);
  }

  store(offset: number, size: number, value: bigint): void {
    this.#structures.write(offset, Number(value & 0xffff_ffffn));
    if (size === 8) this.#structures.write(offset + 4, Number(value >> 32n));
  }
}
