/**
 * The messages of one function, MSI or MSI-X (vfio_pci_intrs.c, vfio_msi_*; PCI-3, PCI-4, PCI-12).
 * The function stores a number at the doorbell for each vector, and the number is routed to an
 * eventfd.
 */
import { einval, erange } from '../../../../platform/errno.ts';
import { hex } from '../../../../platform/hex.ts';
import { int32s, type SharedPart } from '../../../../platform/shared.ts';
import { PAGE_VECTORS } from '../../../abi/interrupt-page.ts';
import { type DoorbellTable, HELD } from '../../../bus/interrupts.ts';
import { takePosted } from '../../../bus/posted-interrupts.ts';
import type { EventTrigger } from './event-trigger.ts';
import type { MessageHardware } from './message-hardware.ts';
import type { VectorAllocator } from './vector-allocator.ts';

/** The parts of the host through which a device's messages go. */
export interface MsiFabric {
  readonly doorbells: DoorbellTable;
  readonly vectors: VectorAllocator;
  /** Where the function stores its messages. acquire() may throw. */
  readonly doorbell: { acquire(): number; release(): void };
  /**
   * Returns when every transaction that began before the call has ended. No device worker is then
   * about to use a route that was just changed.
   */
  fence(): void;
  /** Whether the device is in a domain that outlives the kernel: its interrupts pend, then. */
  holds?(): boolean;
}

/** What one vector has. */
interface Vector {
  /** Its number at the doorbell. */
  readonly number: number;
  /** What was counted there for the users before. */
  readonly before: { readonly raised: number; readonly dropped: number };
  trigger: EventTrigger | undefined;
}

export class Msi {
  readonly #hardware: MessageHardware;
  readonly #fabric: MsiFabric;
  readonly #grows: boolean;
  /** While enabled, by vector; undefined: not added yet. */
  #vectors: (Vector | undefined)[] = [];
  /** The rest of the block that they are in. */
  #spare: readonly Vector[] = [];
  #iova = 0;
  #enabled = false;
  /** The most vectors that SET_IRQS has enabled at once, the last time. */
  #lastEnabled = 0;
  /** The counts of vectors that this function no longer has. */
  #raised = 0;
  #dropped = 0;
  /** Where messages are posted while a thread of the user looks there (posting.ts). */
  #page: SharedPart | undefined;
  /** The numbers that the device sends since before this kernel: not enabled yet. */
  #kept: readonly (number | undefined)[] | undefined;

  /** `grows`: SET_IRQS may add vectors while it is enabled (PCI-12). */
  constructor(hardware: MessageHardware, fabric: MsiFabric, grows: boolean) {
    this.#hardware = hardware;
    this.#fabric = fabric;
    this.#grows = grows;
  }

  get enabled(): boolean {
    return this.#enabled;
  }

  /** Beyond this there is no vector. */
  get nrEnabled(): number {
    return this.#vectors.length;
  }

  /** How many vectors were enabled last; 0: never. */
  get lastEnabled(): number {
    return this.#lastEnabled;
  }

  /**
   * vfio_msi_enable with pci_alloc_irq_vectors(1, nrVectors). ERANGE for no vector; EINVAL, ENOSPC
   * when the doorbell has no place in a donated window (RSV-8).
   */
  enable(nrVectors: number): void {
    if (nrVectors < 1) throw erange('no vector');
    const kept = this.#takeKept(nrVectors);
    if (kept) {
      this.#iova = this.#fabric.doorbell.acquire();
      this.#begin(kept, nrVectors);
      return;
    }
    this.dropKept();
    const numbers = this.#allocate(nrVectors);
    try {
      this.#iova = this.#acquire();
    } catch (error) {
      this.#free(numbers);
      throw error;
    }
    this.#begin(numbers, nrVectors);
    this.#hardware.enable(this.#iova, numbers);
  }

  #begin(numbers: readonly number[], nrVectors: number): void {
    const all = numbers.map((number) => this.#vectorOf(number));
    this.#vectors = all.slice(0, nrVectors);
    this.#spare = all.slice(nrVectors);
    this.#lastEnabled = nrVectors;
    this.#enabled = true;
  }

  #vectorOf(number: number): Vector {
    const { doorbells } = this.#fabric;
    const before = { raised: doorbells.raised(number), dropped: doorbells.dropped(number) };
    return { number, before, trigger: undefined };
  }

  #allocate(nrVectors: number): number[] {
    const { vectors } = this.#fabric;
    const block = this.#hardware.blockFor(nrVectors);
    if (block !== undefined) {
      const base = vectors.allocate(block);
      return Array.from({ length: block }, (_, i) => base + i);
    }
    const numbers: number[] = [];
    try {
      for (let i = 0; i < nrVectors; i++) numbers.push(vectors.allocate(1));
    } catch (error) {
      this.#free(numbers);
      throw error;
    }
    return numbers;
  }

  #free(numbers: readonly number[]): void {
    for (const number of numbers) this.#fabric.vectors.free(number, 1);
  }

  #acquire(): number {
    const { doorbell } = this.#fabric;
    const iova = doorbell.acquire();
    if (this.#hardware.reaches(iova)) return iova;
    doorbell.release();
    throw einval(`the function cannot send MSIs to ${hex(iova)}`);
  }

  /**
   * PKF-6: the function has sent messages since before this kernel. Its numbers stay its own;
   * whatever it sends pends, and the capability is not touched.
   */
  keep(): void {
    this.#kept = this.#hardware.sends();
    for (const number of this.#keptNumbers()) {
      this.#fabric.vectors.reserve(number, 1);
      this.#fabric.doorbells.setSource(number, HELD);
    }
  }

  #keptNumbers(): number[] {
    return this.#kept?.filter((number) => number !== undefined) ?? [];
  }

  /** The numbers that the function sends already, if a user enables just these. */
  #takeKept(nrVectors: number): number[] | undefined {
    const numbers = this.#keptNumbers();
    if (numbers.length !== this.#kept?.length) return undefined; // one between them is not in use
    if (numbers.length !== (this.#hardware.blockFor(nrVectors) ?? nrVectors)) return undefined;
    this.#kept = undefined;
    return numbers;
  }

  /** The numbers from before this kernel go: nobody wants them as they are. */
  dropKept(): void {
    if (!this.#kept) return;
    const { doorbells, fence } = this.#fabric;
    const numbers = this.#keptNumbers();
    this.#kept = undefined;
    this.#hardware.disable();
    for (const number of numbers) doorbells.setSource(number, -1);
    fence();
    for (const number of numbers) doorbells.dropPending(number);
    this.#free(numbers);
  }

  /**
   * PKF-6: the kernel ends and the function goes on: its interrupts pend for the next kernel. The
   * old triggers are closed when no device worker can be using them.
   */
  leave(): void {
    if (!this.#enabled) return;
    const { doorbells } = this.#fabric;
    for (const number of this.#numbers()) {
      doorbells.setPage(number, undefined, 0);
      doorbells.setSource(number, HELD);
    }
    this.#fabric.fence();
    for (const [i, vector] of this.#vectors.entries()) {
      if (!vector?.trigger) continue;
      doorbells.hold(vector.number, this.#takePosted(i));
      vector.trigger.close();
    }
    this.#vectors = [];
    this.#spare = [];
    this.#enabled = false;
  }

  #all(): Vector[] {
    return [...this.#vectors.filter((vector) => vector !== undefined), ...this.#spare];
  }

  #numbers(): number[] {
    return this.#all().map(({ number }) => number);
  }

  /** vfio_msi_disable. */
  disable(): void {
    const numbers = this.#numbers();
    this.#hardware.disable();
    this.#unroute(this.#vectors.keys());
    for (const number of numbers) {
      this.#fabric.doorbells.setSource(number, -1); // one without a trigger may have been HELD
      this.#fabric.doorbells.dropPending(number);
    }
    this.#raised += this.#countNow('raised');
    this.#dropped += this.#countNow('dropped');
    this.#free(numbers);
    this.#fabric.doorbell.release();
    this.#vectors = [];
    this.#spare = [];
    this.#enabled = false;
  }

  /** The function was reset: what it has forgotten is programmed again (pci_restore_msi_state). */
  restore(): void {
    if (!this.#enabled) return;
    this.#hardware.restore(
      this.#iova,
      this.#vectors.map((vector) => vector?.number),
    );
    for (const [i, vector] of this.#vectors.entries()) if (vector?.trigger) this.#hardware.unmask(i);
  }

  /**
   * vfio_msi_set_block: vector start + i gets `open(fds[i])`, none for a negative fd; open throws
   * for a bad one. After a throw that vector and those before it are left without trigger. EINVAL:
   * the vector is not enabled.
   */
  setBlock(start: number, fds: readonly number[], open: (fd: number) => EventTrigger): void {
    this.checkRange(start, Math.max(fds.length, 1));
    for (const [i, fd] of fds.entries()) {
      try {
        if (fd < 0) this.#route(start + i, undefined);
        else this.#arm(start + i, () => open(fd));
      } catch (error) {
        const failed = [...range(start, start + i + 1)].filter((one) => this.#vectors[one]);
        for (const one of failed) this.#hardware.mask(one);
        this.#unroute(failed);
        throw error;
      }
    }
  }

  /** EINVAL beyond what is enabled, on kernels where that is fixed (PCI-12). */
  checkRange(start: number, count: number): void {
    if (this.#grows || start + count <= this.#vectors.length) return;
    throw einval(`vectors ${start}+${count}: ${this.#vectors.length} are enabled`);
  }

  /** The vector is there before its eventfd is looked at (vfio_msi_set_vector_signal). */
  #arm(i: number, open: () => EventTrigger): void {
    if (!this.#vectors[i]) this.#add(i);
    this.#route(i, open());
  }

  /**
   * vfio_msi_alloc_irq with pci_msix_alloc_irq_at. EINVAL: MSI has as many as it was enabled with.
   */
  #add(i: number): void {
    if (this.#hardware.blockFor(1) !== undefined) throw einval(`vector ${i}: ${this.#vectors.length} are enabled`);
    const number = this.#fabric.vectors.allocate(1);
    this.#hardware.add(i, this.#iova, number);
    while (this.#vectors.length < i) this.#vectors.push(undefined);
    this.#vectors[i] = this.#vectorOf(number);
  }

  /** Loop-back: signals the eventfd of vector `i` as if the device had sent its message. */
  raise(i: number): void {
    const vector = this.#vectors[i];
    if (vector?.trigger) this.#fabric.doorbells.ring(vector.number);
  }

  /**
   * Posts the messages of vectors with a trigger in this page from here on. Undefined: no more, and
   * what nobody has taken there signals the triggers.
   */
  post(page: SharedPart | undefined): void {
    const { doorbells } = this.#fabric;
    const armed = [...this.#vectors.entries()].filter(([, vector]) => vector?.trigger) as [number, Vector][];
    if (this.#page && armed.length > 0) {
      for (const [, { number }] of armed) doorbells.setPage(number, undefined, 0);
      this.#fabric.fence();
      for (const [i, { trigger }] of armed) this.#signalPosted(i, trigger!);
    }
    this.#page = page;
    if (page) for (const [i, { number }] of armed) doorbells.setPage(number, page, i);
  }

  /** What was posted before vector `i` lost its trigger, or its page, signals the trigger. */
  #signalPosted(i: number, trigger: EventTrigger): void {
    for (let left = this.#takePosted(i); left > 0; left--) trigger.signal();
  }

  #takePosted(i: number): number {
    return this.#page && i < PAGE_VECTORS ? takePosted(int32s(this.#page), 0, i) : 0;
  }

  /**
   * Routes a vector to a new trigger. The order is mask, route, fence, close: the old trigger is
   * closed when no device worker can be using it. Only then the mask is lifted.
   */
  #route(i: number, trigger: EventTrigger | undefined): void {
    const vector = this.#vectors[i];
    if (!vector) return;
    const { trigger: old, number } = vector;
    if (old) this.#hardware.mask(i);
    vector.trigger = trigger;
    const held = this.#fabric.holds?.() ?? false;
    const { doorbells } = this.#fabric;
    doorbells.setSource(number, trigger?.source ?? (held ? HELD : -1));
    doorbells.setPage(number, trigger && this.#page, i);
    if (old || held) {
      this.#fabric.fence();
      doorbells.deliverPending(number);
      if (old && !trigger) this.#signalPosted(i, old);
      old?.close();
    }
    if (trigger) this.#hardware.unmask(i);
  }

  #unroute(which: Iterable<number>): void {
    const { doorbells } = this.#fabric;
    const old = new Map<number, EventTrigger>();
    for (const i of which) {
      const vector = this.#vectors[i];
      if (!vector?.trigger) continue;
      old.set(i, vector.trigger);
      vector.trigger = undefined;
      doorbells.setPage(vector.number, undefined, 0);
      doorbells.setSource(vector.number, -1);
    }
    if (old.size === 0) return;
    this.#fabric.fence();
    for (const [i, trigger] of old) {
      this.#signalPosted(i, trigger);
      trigger.close();
    }
  }

  /** How many messages of this function have reached an eventfd since power-on. */
  raised(): number {
    return this.#raised + this.#countNow('raised');
  }

  /** How many messages of this function have found no eventfd. */
  dropped(): number {
    return this.#dropped + this.#countNow('dropped');
  }

  #countNow(what: 'raised' | 'dropped'): number {
    const { doorbells } = this.#fabric;
    return this.#all().reduce((sum, { number, before }) => sum + doorbells[what](number) - before[what], 0);
  }
}

function* range(start: number, end: number): Generator<number, void> {
  for (let i = start; i < end; i++) yield i;
}
