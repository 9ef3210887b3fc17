/**
 * The virtio devices inside the VMM: in slots of virtio-mmio, or functions of the PCI bus. They
 * work on the thread that owns the shared devices, within the access by which the driver notifies
 * them.
 */
import { VIRTIO_STATE, VirtioDevice, type VirtioKind } from '../../../devices/virtio/device.ts';
import { DmaMemory } from '../../../devices/virtio/dma-memory.ts';
import { readMmio, VIRTIO_MMIO_CONFIG, writeMmio } from '../../../devices/virtio/mmio.ts';
import { VIRTIO_MESSAGES } from '../../../devices/virtio/pci.ts';
import type { VirtioMemory } from '../../../devices/virtio/queue.ts';
import { defaultVectors } from '../../../devices/virtio/structures.ts';
import type { Dma } from '../../../iommu/bus/dma.ts';
import { defineSection, type StateOf } from '../../../platform/section.ts';
import { bytes, list, nullable, object } from '../../../platform/shape.ts';
import type { MmioDevice } from './bus.ts';
import { type MapEntry, VIRTIO_MMIO_SLOTS, virtioMmioIrq, virtioMmioSlot } from './memory-map.ts';
import { VirtioPciFunction } from './virtio-pci.ts';

/** In the order of the command line; a PCI function has its configuration space and messages. */
export const VIRTIO_SECTION = defineSection('virtio', 2, {
  devices: list(object({ config: nullable(bytes), messages: nullable(VIRTIO_MESSAGES), device: VIRTIO_STATE })),
}).earlier(
  1,
  { devices: list(object({ config: nullable(bytes), device: VIRTIO_STATE })) },
  // The guest of such a build sees no MSI-X: its configuration space has no such capability.
  { read: ({ devices }) => ({ devices: devices.map((saved) => ({ ...saved, messages: null })) }) },
);

export type VirtioDevicesState = StateOf<typeof VIRTIO_SECTION>;

export type VirtioTransport = 'pci' | 'mmio';

/** A device to have. */
export interface VirtioUnit {
  readonly transport: VirtioTransport;
  readonly kind: VirtioKind;
  /** Its driver must use the addresses of the IOMMU, or of the bus where there is none. */
  readonly iommuPlatform?: boolean | undefined;
  /** Vectors of MSI-X on PCI; absent: as many as QEMU gives it; 0: none. */
  readonly vectors?: number | undefined;
}

export interface VirtioWiring {
  /** RAM. */
  readonly memory: VirtioMemory;
  /** The DMA port of the function that is added next. */
  nextPort(): Dma;
  /** Wire of an interrupt source of the PLIC. */
  line(source: number): (up: boolean) => void;
  /** Puts the function that `make` returns onto the PCI bus; `line` is its INTA. */
  addFunction(make: (line: (up: boolean) => void) => VirtioPciFunction): void;
}

export class VirtioDevices {
  readonly #devices: readonly VirtioDevice[];
  readonly #functions = new Map<VirtioDevice, VirtioPciFunction>();
  /** By slot. */
  readonly #slots: readonly (VirtioDevice | undefined)[];

  constructor(units: readonly VirtioUnit[], { memory, nextPort, line, addFunction }: VirtioWiring) {
    const inSlots: VirtioDevice[] = [];
    this.#devices = units.map(({ transport, kind, iommuPlatform, vectors = defaultVectors(kind) }) => {
      const accessPlatform = iommuPlatform;
      if (transport === 'mmio') {
        const device = new VirtioDevice(kind, memory, line(virtioMmioIrq(inSlots.length)), { accessPlatform });
        inSlots.push(device);
        return device;
      }
      const port = nextPort();
      const its = (): VirtioPciFunction | undefined => this.#functions.get(device);
      const reached = iommuPlatform ? new DmaMemory(port, { isMaster: () => its()?.isMaster ?? false }) : memory;
      const signal = (queue: number | undefined): void => its()?.signal(queue);
      const device: VirtioDevice = new VirtioDevice(kind, reached, () => its()?.drive(), { accessPlatform, signal });
      addFunction((inta) => {
        const fn = new VirtioPciFunction(device, { line: inta, port, vectors });
        this.#functions.set(device, fn);
        return fn;
      });
      return device;
    });
    this.#slots = Array.from({ length: VIRTIO_MMIO_SLOTS }, (_, slot) => inSlots[slot]);
  }

  get count(): number {
    return this.#devices.length;
  }

  mapInto(bus: { map(at: MapEntry, device: MmioDevice): void }): void {
    this.#slots.forEach((device, slot) => {
      bus.map(virtioMmioSlot(slot), new MmioSlot(device));
    });
  }

  /** There may be news from outside. */
  update(): void {
    for (const device of this.#devices) device.update();
  }

  /** Milliseconds until a device wants `update` though there is no news; undefined: none does. */
  dueMs(): number | undefined {
    let least: number | undefined;
    for (const device of this.#devices) {
      const due = device.dueMs();
      if (due !== undefined && (least === undefined || due < least)) least = due;
    }
    return least;
  }

  /** Resets the slots; the PCI host resets its functions. */
  reset(): void {
    for (const device of this.#slots) device?.reset();
  }

  save(): VirtioDevicesState {
    return VIRTIO_SECTION.of({
      devices: this.#devices.map((device) => ({
        config: this.#functions.get(device)?.saveConfig() ?? null,
        messages: this.#functions.get(device)?.saveMessages() ?? null,
        device: device.save(),
      })),
    });
  }

  restore({ devices }: VirtioDevicesState): void {
    for (const [i, device] of this.#devices.entries()) {
      const saved = devices[i];
      if (!saved) continue;
      if (saved.config) this.#functions.get(device)?.restoreConfig(saved.config);
      if (saved.messages) this.#functions.get(device)?.restoreMessages(saved.messages);
      device.restore(saved.device);
    }
  }
}

/** Registers take 4 bytes; the configuration is accessed as wide as its fields are. */
class MmioSlot implements MmioDevice {
  readonly maxAccess = 4;
  readonly #device: VirtioDevice | undefined;

  constructor(device: VirtioDevice | undefined) {
    this.#device = device;
  }

  load(offset: number, size: 1 | 2 | 4 | 8): bigint | undefined {
    if (offset >= VIRTIO_MMIO_CONFIG) return BigInt(this.#device?.readConfig(offset - VIRTIO_MMIO_CONFIG, size) ?? 0);
    return size === 4 ? BigInt(readMmio(this.#device, offset) >>> 0) : undefined;
  }

  store(offset: number, size: 1 | 2 | 4 | 8, value: bigint): boolean {
    if (offset >= VIRTIO_MMIO_CONFIG) return true; // nothing in it can be written
    if (size !== 4) return false;
    writeMmio(this.#device, offset, Number(value));
    return true;
  }
}
