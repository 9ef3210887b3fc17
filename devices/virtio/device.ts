/**
 * What a virtio device is, whatever transport it has: the device's kind brings queues, features and
 * configuration; the rest of virtio 1.3 §2 and §3 is here.
 */
import { flag, integer, list, object, type Shaped } from '../../platform/shape.ts';
import { BadQueue, type VirtioMemory, Virtqueue } from './queue.ts';

export const STATUS_DRIVER_OK = 4;
const STATUS_FEATURES_OK = 8;
const STATUS_NEEDS_RESET = 0x40;

export const ISR_QUEUE = 1;
export const ISR_CONFIG = 2;

const F_INDIRECT_DESC = 1n << 28n;
const F_EVENT_IDX = 1n << 29n;
const F_VERSION_1 = 1n << 32n;
const F_ACCESS_PLATFORM = 1n << 33n;
const NO_QUEUES: readonly number[] = [];
/** Features that all devices here offer. */
export const EVERY_DEVICE = F_INDIRECT_DESC | F_EVENT_IDX | F_VERSION_1;

/** A kind of device (virtio 1.3 §5). It keeps nothing between two calls that a save would miss. */
export interface VirtioKind {
  /** §5, device id. */
  readonly id: number;
  /** PCI class, 24 bits. */
  readonly classCode: number;
  /** Feature bits of the kind itself. */
  readonly features: bigint;
  /** The largest sizes of its queues. */
  readonly queueSizes: readonly number[];
  /** Configuration space. */
  readonly config: Uint8Array;
  /** Does what waits in the queue: takes chains and gives them back. */
  work(queue: Virtqueue, index: number, memory: VirtioMemory): void;
  /** Queues that may have work though the driver does not notify: for news from outside. */
  pending?(): readonly number[];
  /** Milliseconds until `pending` is to be asked again; undefined: whoever has news says so. */
  dueMs?(): number | undefined;
}

const QUEUE_STATE = object({
  size: integer,
  ready: flag,
  desc: integer,
  driver: integer,
  device: integer,
  taken: integer,
  given: integer,
  told: integer,
});

export interface VirtioOptions {
  /** The driver must use the addresses of the platform, those of an IOMMU (§6.1). */
  readonly accessPlatform?: boolean | undefined;
  /** Hears of each interrupt beside its level: of which queue, or of the device (undefined). */
  readonly signal?: ((queue: number | undefined) => void) | undefined;
  /** Whether it has time for one more chain; absent: it does all that waits. */
  readonly goesOn?: (() => boolean) | undefined;
}

export const VIRTIO_STATE = object({
  status: integer,
  isr: integer,
  /** Halves of what the driver has accepted, low half first. */
  accepted: list(integer, 2),
  deviceSelect: integer,
  driverSelect: integer,
  queueSelect: integer,
  queues: list(QUEUE_STATE),
});

export type VirtioState = Shaped<typeof VIRTIO_STATE>;

export class VirtioDevice {
  readonly kind: VirtioKind;
  readonly queues: readonly Virtqueue[];
  deviceSelect = 0;
  driverSelect = 0;
  queueSelect = 0;
  #status = 0;
  #isr = 0;
  #accepted = [0, 0];
  readonly #memory: VirtioMemory;
  readonly #line: (up: boolean) => void;
  readonly #everyDevice: bigint;
  readonly #signal: VirtioOptions['signal'];

  /** `line` gets the level of the interrupt status. */
  constructor(kind: VirtioKind, memory: VirtioMemory, line: (up: boolean) => void, options: VirtioOptions = {}) {
    this.kind = kind;
    this.#everyDevice = options.accessPlatform ? EVERY_DEVICE | F_ACCESS_PLATFORM : EVERY_DEVICE;
    this.#signal = options.signal;
    this.#memory = memory;
    this.#line = line;
    this.queues = kind.queueSizes.map((size) => new Virtqueue(memory, size, options.goesOn));
  }

  get status(): number {
    return this.#status;
  }

  /**
   * §3.1: 0 resets; FEATURES_OK sticks only if what was accepted was offered, and if the driver
   * knows what it must know.
   */
  set status(value: number) {
    if (value === 0) {
      this.reset();
      return;
    }
    const accepted = this.#acceptedBits();
    const must = this.#offered() & (F_VERSION_1 | F_ACCESS_PLATFORM);
    const bad = (accepted & ~this.#offered()) !== 0n || (accepted & must) !== must;
    const kept = value & STATUS_FEATURES_OK && bad ? value & ~STATUS_FEATURES_OK : value;
    this.#status = kept | (this.#status & STATUS_NEEDS_RESET);
    this.#applyFeatures();
  }

  get isr(): number {
    return this.#isr;
  }

  /** Clears these bits of the interrupt status. */
  acknowledge(bits: number): void {
    this.#isr &= ~bits;
    this.#line(this.#isr !== 0);
  }

  /** The selected half of the offered features. */
  offeredHalf(): number {
    if (this.deviceSelect > 1) return 0;
    return Number(BigInt.asUintN(32, this.#offered() >> BigInt(32 * this.deviceSelect)));
  }

  acceptedHalf(): number {
    return this.#accepted[this.driverSelect] ?? 0;
  }

  /** The driver accepts features: before FEATURES_OK only (§2.2). */
  accept(half: number): void {
    if (this.#status & STATUS_FEATURES_OK || this.driverSelect > 1) return;
    this.#accepted[this.driverSelect] = half >>> 0;
  }

  /** The selected queue; undefined if there is no such queue. */
  get selected(): Virtqueue | undefined {
    return this.queues[this.queueSelect];
  }

  /** `size` bytes of configuration, up to 4; zeros beyond its end. */
  readConfig(offset: number, size: number): number {
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = (value << 8) | (this.kind.config[offset + i] ?? 0);
    return value >>> 0;
  }

  /**
   * Does what waits in the queue: the driver has added buffers to it. True: there was no time for
   * all of it, and this is to be called again.
   */
  notify(index: number): boolean {
    const queue = this.queues[index];
    if (!queue?.ready || (this.#status & STATUS_DRIVER_OK) === 0 || this.#status & STATUS_NEEDS_RESET) return false;
    try {
      this.kind.work(queue, index, this.#memory);
      if (queue.wantsInterrupt()) this.#interrupt(ISR_QUEUE, index);
      return queue.stopped;
    } catch (error) {
      if (!(error instanceof BadQueue)) throw error;
      this.#status |= STATUS_NEEDS_RESET;
      this.#interrupt(ISR_CONFIG);
      return false;
    } finally {
      this.#memory.idle();
    }
  }

  /** There may be news from outside. */
  update(): void {
    for (const queue of this.kind.pending?.() ?? NO_QUEUES) this.notify(queue);
  }

  /** Milliseconds until it wants `update` though there is no news; undefined: it does not. */
  dueMs(): number | undefined {
    const works = (this.#status & (STATUS_DRIVER_OK | STATUS_NEEDS_RESET)) === STATUS_DRIVER_OK;
    return works ? this.kind.dueMs?.() : undefined;
  }

  reset(): void {
    this.#status = 0;
    this.#isr = 0;
    this.#accepted = [0, 0];
    this.deviceSelect = 0;
    this.driverSelect = 0;
    this.queueSelect = 0;
    for (const queue of this.queues) queue.reset();
    this.#line(false);
  }

  save(): VirtioState {
    const { deviceSelect, driverSelect, queueSelect } = this;
    return {
      status: this.#status,
      isr: this.#isr,
      accepted: [...this.#accepted],
      deviceSelect,
      driverSelect,
      queueSelect,
      queues: this.queues.map((queue) => queue.save()),
    };
  }

  restore(state: VirtioState): void {
    this.#status = state.status;
    this.#isr = state.isr;
    this.#accepted = [...state.accepted];
    this.deviceSelect = state.deviceSelect;
    this.driverSelect = state.driverSelect;
    this.queueSelect = state.queueSelect;
    for (const [i, queue] of this.queues.entries()) {
      const saved = state.queues[i];
      if (!saved) continue;
      queue.restore(saved);
      queue.showGiven();
    }
    this.#memory.idle();
    this.#applyFeatures();
    this.#line(this.#isr !== 0);
  }

  #interrupt(bit: number, queue?: number): void {
    this.#isr |= bit;
    this.#line(true);
    this.#signal?.(queue);
  }

  #applyFeatures(): void {
    const eventIdx = (this.#status & STATUS_FEATURES_OK) !== 0 && (this.#acceptedBits() & F_EVENT_IDX) !== 0n;
    for (const queue of this.queues) queue.eventIdx = eventIdx;
  }

  #offered(): bigint {
    return this.kind.features | this.#everyDevice;
  }

  #acceptedBits(): bigint {
    return (BigInt(this.#accepted[1]!) << 32n) | BigInt(this.#accepted[0]!);
  }
}
