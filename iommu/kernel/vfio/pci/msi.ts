/**
 * MSI of one function (vfio_pci_intrs.c, vfio_msi_*; PCI-3, PCI-4). The capability is programmed
 * with the doorbell's address and data, and each vector is routed to an eventfd.
 */
import { einval, erange } from '../../../../platform/errno.ts';
import { hex } from '../../../../platform/hex.ts';
import {
  PCI_MSI_ADDRESS_HI,
  PCI_MSI_ADDRESS_LO,
  PCI_MSI_DATA_32,
  PCI_MSI_DATA_64,
  PCI_MSI_FLAGS,
  PCI_MSI_FLAGS_ENABLE,
  PCI_MSI_FLAGS_QSIZE,
} from '../../../abi/pci-regs.ts';
import { type DoorbellTable, HELD } from '../../../bus/interrupts.ts';
import type { PciAccess } from './access.ts';
import type { EventTrigger } from './event-trigger.ts';
import type { PciResources } from './resources.ts';
import type { VectorAllocator } from './vector-allocator.ts';

/** The parts of the host through which a device's MSIs go. */
export interface MsiFabric {
  readonly doorbells: DoorbellTable;
  readonly vectors: VectorAllocator;
  /** Where the function stores its MSIs. acquire() may throw. */
  readonly doorbell: { acquire(): number; release(): void };
  /**
   * Returns when every transaction that began before the call has ended. No device worker is then
   * about to use a route that was just changed.
   */
  fence(): void;
  /** Whether the device is in a domain that outlives the kernel: its interrupts pend, then. */
  holds?(): boolean;
}

export class Msi {
  readonly #pci: PciAccess;
  readonly #capability: NonNullable<PciResources['msi']>;
  readonly #fabric: MsiFabric;
  /** The first vector number, and how many vectors are allocated, while MSI is enabled. */
  #base = 0;
  #allocated = 0;
  /** The triggers by MSI number, [0, nrEnabled). */
  #triggers: (EventTrigger | undefined)[] = [];
  #enabled = false;
  #queueSize = 0;
  /**
   * The counts of vectors that this function no longer has. The counts of its present vectors
   * started from #countedBefore.
   */
  #raised = 0;
  #dropped = 0;
  /** What the device sends since before this kernel, [base, base + count): not enabled yet. */
  #kept: { readonly base: number; readonly count: number } | undefined;
  #countedBefore: readonly { readonly raised: number; readonly dropped: number }[] = [];

  constructor(pci: PciAccess, capability: NonNullable<PciResources['msi']>, fabric: MsiFabric) {
    this.#pci = pci;
    this.#capability = capability;
    this.#fabric = fabric;
  }

  get enabled(): boolean {
    return this.#enabled;
  }

  /** How many MSIs SET_IRQS has enabled. */
  get nrEnabled(): number {
    return this.#triggers.length;
  }

  /** msi_qmax: log2 of the number of vectors last enabled. */
  get queueSize(): number {
    return this.#queueSize;
  }

  /**
   * vfio_msi_enable with pci_alloc_irq_vectors(1, nrVectors). ERANGE for no vector; EINVAL, ENOSPC
   * when the doorbell has no place in a donated window (RSV-8).
   */
  enable(nrVectors: number): void {
    if (nrVectors < 1) throw erange('MSI with no vector');
    const queueSize = Math.ceil(Math.log2(nrVectors));
    const count = 1 << queueSize;
    if (this.#kept?.count === count) {
      this.#goOn(this.#kept.base, nrVectors);
      return;
    }
    this.dropKept();
    const base = this.#fabric.vectors.allocate(count);
    let iova: number;
    try {
      iova = this.#acquire();
    } catch (error) {
      this.#fabric.vectors.free(base, count);
      throw error;
    }
    this.#allocated = count;
    this.#base = base;
    this.#countedBefore = this.#counts();
    this.#triggers = Array.from({ length: nrVectors }, () => undefined);
    this.#queueSize = queueSize;
    this.#program(iova);
    this.#enabled = true;
  }

  /**
   * PKF-6: the function has sent MSIs since before this kernel. Its vectors stay its own; whatever
   * it sends pends, and the capability is not touched.
   */
  keep(): void {
    const { at, is64 } = this.#capability;
    const flags = this.#pci.readConfig(at + PCI_MSI_FLAGS, 2);
    if ((flags & PCI_MSI_FLAGS_ENABLE) === 0) return;
    const count = 1 << ((flags & PCI_MSI_FLAGS_QSIZE) >> 4);
    const base = this.#pci.readConfig(at + (is64 ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32), 2);
    this.#kept = { base, count };
    this.#fabric.vectors.reserve(base, count);
    for (let i = 0; i < count; i++) this.#fabric.doorbells.setSource(base + i, HELD);
  }

  /** A user enables what the function does already. */
  #goOn(base: number, nrVectors: number): void {
    this.#fabric.doorbell.acquire();
    this.#kept = undefined;
    this.#base = base;
    this.#allocated = 1 << Math.ceil(Math.log2(nrVectors));
    this.#countedBefore = this.#counts();
    this.#triggers = Array.from({ length: nrVectors }, () => undefined);
    this.#queueSize = Math.log2(this.#allocated);
    this.#enabled = true;
  }

  /** The vectors from before this kernel go: nobody wants them as they are. */
  dropKept(): void {
    if (!this.#kept) return;
    const { base, count } = this.#kept;
    this.#kept = undefined;
    this.#disableCapability();
    for (let i = 0; i < count; i++) this.#fabric.doorbells.setSource(base + i, -1);
    this.#fabric.fence();
    for (let i = 0; i < count; i++) this.#fabric.doorbells.dropPending(base + i);
    this.#fabric.vectors.free(base, count);
  }

  /**
   * PKF-6: the kernel ends and the function goes on: its interrupts pend for the next kernel. The
   * old triggers are closed when no device worker can be using them.
   */
  leave(): void {
    if (!this.#enabled) return;
    for (let i = 0; i < this.#allocated; i++) this.#fabric.doorbells.setSource(this.#base + i, HELD);
    this.#fabric.fence();
    for (const trigger of this.#triggers) trigger?.close();
    this.#triggers = [];
    this.#enabled = false;
  }

  #acquire(): number {
    const { doorbell } = this.#fabric;
    const iova = doorbell.acquire();
    if (iova < 2 ** 32 || this.#capability.is64) return iova;
    doorbell.release();
    throw einval(`the function cannot send MSIs to ${hex(iova)}`);
  }

  /** Writes the message first and then the enable bit (PCI 3.0 §6.8.3.1). */
  #program(iova: number): void {
    const { at, is64 } = this.#capability;
    const flags = this.#pci.readConfig(at + PCI_MSI_FLAGS, 2) & ~(PCI_MSI_FLAGS_QSIZE | PCI_MSI_FLAGS_ENABLE);
    this.#pci.writeConfig(at + PCI_MSI_FLAGS, 2, flags);
    this.#pci.writeConfig(at + PCI_MSI_ADDRESS_LO, 4, iova % 2 ** 32);
    if (is64) this.#pci.writeConfig(at + PCI_MSI_ADDRESS_HI, 4, Math.floor(iova / 2 ** 32));
    this.#pci.writeConfig(at + (is64 ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32), 2, this.#base);
    this.#pci.writeConfig(at + PCI_MSI_FLAGS, 2, flags | (this.#queueSize << 4) | PCI_MSI_FLAGS_ENABLE);
  }

  /** vfio_msi_disable. */
  disable(): void {
    this.#disableCapability();
    this.#unroute(this.#triggers.keys());
    this.#forgetPending();
    this.#raised += this.#raisedNow();
    this.#dropped += this.#droppedNow();
    this.#fabric.vectors.free(this.#base, this.#allocated);
    this.#fabric.doorbell.release();
    this.#allocated = 0;
    this.#countedBefore = [];
    this.#triggers = [];
    this.#enabled = false;
  }

  #disableCapability(): void {
    const flags = this.#pci.readConfig(this.#capability.at + PCI_MSI_FLAGS, 2);
    this.#pci.writeConfig(this.#capability.at + PCI_MSI_FLAGS, 2, flags & ~PCI_MSI_FLAGS_ENABLE);
  }

  /** Vectors without a trigger may have been HELD. */
  #forgetPending(): void {
    for (let i = 0; i < this.#allocated; i++) {
      this.#fabric.doorbells.setSource(this.#base + i, -1);
      this.#fabric.doorbells.dropPending(this.#base + i);
    }
  }

  /**
   * vfio_msi_set_block. `take(i)` returns the new trigger of MSI start+i, undefined for none, and
   * throws for a bad one. After a throw that MSI and those before it are left without trigger.
   */
  setBlock(start: number, count: number, take: (i: number) => EventTrigger | undefined): void {
    if (start + count > this.#triggers.length)
      throw einval(`MSI ${start}+${count}: ${this.#triggers.length} are enabled`);
    for (let i = 0; i < count; i++) {
      let trigger: EventTrigger | undefined;
      try {
        trigger = take(i);
      } catch (error) {
        this.#unroute(range(start, start + i + 1));
        throw error;
      }
      this.#route(start + i, trigger);
    }
  }

  /** Loop-back: signals the eventfd of MSI `i` as if the device had sent the MSI. */
  raise(i: number): void {
    if (this.#triggers[i]) this.#fabric.doorbells.ring(this.#base + i);
  }

  /**
   * Routes an MSI to a new trigger. The order is route, fence, close: the old trigger is closed
   * when no device worker can be using it.
   */
  #route(i: number, trigger: EventTrigger | undefined): void {
    const old = this.#triggers[i];
    this.#triggers[i] = trigger;
    const held = this.#fabric.holds?.() ?? false;
    this.#fabric.doorbells.setSource(this.#base + i, trigger?.source ?? (held ? HELD : -1));
    if (!old && !held) return;
    this.#fabric.fence();
    this.#fabric.doorbells.deliverPending(this.#base + i);
    old?.close();
  }

  #unroute(which: Iterable<number>): void {
    const old: EventTrigger[] = [];
    for (const i of which) {
      const trigger = this.#triggers[i];
      if (!trigger) continue;
      old.push(trigger);
      this.#triggers[i] = undefined;
      this.#fabric.doorbells.setSource(this.#base + i, -1);
    }
    if (old.length === 0) return;
    this.#fabric.fence();
    for (const trigger of old) trigger.close();
  }

  /** How many MSIs of this function have reached an eventfd since power-on. */
  raised(): number {
    return this.#raised + this.#raisedNow();
  }

  /** How many MSIs of this function have found no eventfd. */
  dropped(): number {
    return this.#dropped + this.#droppedNow();
  }

  #raisedNow(): number {
    return this.#counts().reduce((sum, { raised }, i) => sum + raised - (this.#countedBefore[i]?.raised ?? 0), 0);
  }

  #droppedNow(): number {
    return this.#counts().reduce((sum, { dropped }, i) => sum + dropped - (this.#countedBefore[i]?.dropped ?? 0), 0);
  }

  #counts(): readonly { readonly raised: number; readonly dropped: number }[] {
    const { doorbells } = this.#fabric;
    return Array.from({ length: this.#allocated }, (_, i) => ({
      raised: doorbells.raised(this.#base + i),
      dropped: doorbells.dropped(this.#base + i),
    }));
  }
}

function* range(start: number, end: number): Generator<number, void> {
  for (let i = start; i < end; i++) yield i;
}
