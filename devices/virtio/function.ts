/**
 * A virtio device as a device of the kit: a function of the board. All its accesses to rings and
 * buffers are DMA through the function's port, so an IOMMU may be in front. Notifications of the
 * driver, and news of what is behind the device, only note what is to do; run() does it, one slice
 * after the other.
 */
import { PCI_COMMAND_MASTER } from '../../iommu/abi/pci-regs.ts';
import { word } from '../kit/bar-access.ts';
import { type Bus, type Device, NEVER, type RegisterBar, SLICE_NS } from '../kit/device.ts';
import { FUNCTION_PROPERTIES } from '../kit/function-properties.ts';
import { MAX_MSIX_VECTORS } from '../kit/msix.ts';
import { integer, onOff } from '../kit/properties.ts';
import { ConfigWindow } from './capabilities.ts';
import { STATUS_DRIVER_OK, VirtioDevice, type VirtioKind } from './device.ts';
import { DmaMemory } from './dma-memory.ts';
import { REG, virtioRegisters } from './regs.ts';
import { defaultVectors, VIRTIO_BAR, VIRTIO_BAR_SHAPE, VirtioStructures } from './structures.ts';

/** The properties that such a function has, whatever its kind. */
export const virtioProperties = (kind: Pick<VirtioKind, 'queueSizes'>) => ({
  ...FUNCTION_PROPERTIES,
  flr: onOff(true, FUNCTION_PROPERTIES.flr.what),
  msix: integer(defaultVectors(kind), { from: 0, to: MAX_MSIX_VECTORS }, FUNCTION_PROPERTIES.msix.what),
});

/** Its structures take 1, 2 and 4 bytes; 8 are two accesses of 4. */
export const virtioBar = (kind: Pick<VirtioKind, 'queueSizes' | 'features'>): RegisterBar => ({
  ...VIRTIO_BAR_SHAPE,
  kind: 'registers',
  access: { min: 1, max: 4, odd: 'split', small: 'refuse' },
  registers: virtioRegisters(kind),
});

/** What is behind a device, where it has more to do than to move what the queues have. */
export interface Outside {
  /** Does what is due: takes a client, connects, sends what waits. */
  update(): void;
  /** Milliseconds until it wants `update` though there is no news; undefined: it does not. */
  dueMs(): number | undefined;
}

export class VirtioFunction implements Device {
  readonly bars: Device['bars'];
  readonly #bus: Bus;
  readonly #memory: DmaMemory;
  readonly #device: VirtioDevice;
  readonly #structures: VirtioStructures;
  readonly #window: ConfigWindow;
  readonly #kind: VirtioKind;
  readonly #outside: Outside | undefined;
  /** A bit for each queue that may have work. */
  #notified = 0;
  /** When it wants to look outside though there is no news. */
  #dueNs = 0;
  #sliceEndNs = 0;
  /** How often this slice has looked for a chain. It always looks once, so it makes progress. */
  #chains = 0;
  /** Register accesses are served in the middle of the work from this time on. */
  #serveAtNs = 0;
  #works = false;
  #resetWaits = false;

  /** `nrVectors`: those of MSI-X; 0: it has none. */
  constructor(bus: Bus, kind: VirtioKind, nrVectors: number, outside?: Outside) {
    this.#bus = bus;
    this.#kind = kind;
    this.#outside = outside;
    this.#memory = new DmaMemory(bus.dma, { pause: () => this.#pause() });
    this.#device = new VirtioDevice(kind, this.#memory, (up) => bus.interrupts.setLevel(up), {
      accessPlatform: true, // virtio 1.3 §6.1: the driver has to use addresses of the bus
      signal: (queue) => this.#signal(queue),
      goesOn: () => this.#chains++ === 0 || bus.clock() < this.#sliceEndNs,
    });
    this.#structures = new VirtioStructures(this.#device, {
      nrVectors,
      notify: (queue) => {
        if (queue < kind.queueSizes.length) this.#notified |= 1 << queue;
      },
    });
    const write = (at: number, value: number): void => this.#write(at, value);
    this.#window = new ConfigWindow(bus.config, {
      read: (at, size) => this.#structures.read(at, size),
      write,
    });
    const registers = {
      read: (at: number, size: number) => word(this.#structures.read(at, size)),
      write: (at: number, _size: number, lo: number) => write(at, lo),
    };
    this.bars = { [VIRTIO_BAR]: registers };
  }

  /**
   * A reset that comes while the device waits in the middle of its work is made after that: the
   * driver waits until the status reads 0 (§4.1.4.3.2).
   */
  #write(at: number, value: number): void {
    if (this.#works && at === REG.DEVICE_STATUS && (value & 0xff) === 0) this.#resetWaits = true;
    else this.#structures.write(at, value);
    // what came before the driver did waits
    if (at === REG.DEVICE_STATUS && this.#device.status & STATUS_DRIVER_OK) this.#notePending();
  }

  #notePending(): void {
    for (const queue of this.#kind.pending?.() ?? []) this.#notified |= 1 << queue;
  }

  /** Sends the message of a queue, or of the device (undefined), if it has a vector. */
  #signal(queue: number | undefined): void {
    const vector = this.#structures.vectorOf(queue);
    if (vector !== undefined) this.#bus.interrupts.message(vector);
  }

  configRead(offset: number): void {
    this.#window.beforeRead(offset);
  }

  configChanged(offset: number): void {
    this.#window.written(offset);
    this.#bus.interrupts.setLevel(this.#device.isr !== 0);
  }

  /**
   * Without bus mastering it reaches no ring (PCI 3.0 §6.2.2), so all that is to do waits; a write
   * of COMMAND lets it run again.
   */
  run(): number {
    const { clock, config } = this.#bus;
    if (!config.command(PCI_COMMAND_MASTER)) return NEVER;
    const now = clock();
    this.#hear(now);
    this.#sliceEndNs = now + SLICE_NS;
    this.#serveAtNs = this.#sliceEndNs;
    this.#chains = 0;
    const notified = this.#notified;
    this.#notified = 0;
    for (let queue = 0; notified >>> queue !== 0; queue++) {
      if (notified & (1 << queue) && this.#work(queue)) this.#notified |= 1 << queue;
    }
    return this.#notified === 0 ? this.#nextLook() : 0;
  }

  /** Takes what there is of news, or looks because it is time. */
  #hear(now: number): void {
    if (!this.#bus.control.takeNews() && now < this.#dueNs) return;
    this.#dueNs = NEVER;
    this.#outside?.update();
    this.#notePending();
  }

  #nextLook(): number {
    const ms = Math.min(this.#device.dueMs() ?? NEVER, this.#outside?.dueMs() ?? NEVER);
    this.#dueNs = Math.min(this.#dueNs, this.#bus.clock() + ms * 1e6);
    return this.#dueNs;
  }

  /** In the middle of a request that takes longer than a slice the registers answer, too. */
  #pause(): void {
    if (!this.#works || this.#bus.clock() < this.#serveAtNs) return;
    this.#bus.serve();
    this.#serveAtNs = this.#bus.clock() + SLICE_NS;
  }

  /** Does what waits in a queue. True: not all of it. */
  #work(queue: number): boolean {
    const { transactions, bytes } = this.#memory;
    this.#works = true;
    const more = this.#device.notify(queue);
    this.#works = false;
    const moved = this.#memory.bytes - bytes;
    if (moved > 0) this.#bus.timeline.record(this.#bus.clock(), this.#memory.transactions - transactions, moved);
    if (this.#resetWaits) {
      this.#resetWaits = false;
      this.#structures.write(REG.DEVICE_STATUS, 0);
    }
    return more;
  }
}
