/**
 * The configuration space of one PCI function: type 0 header and a capability chain in 256 bytes
 * (PCI 3.0 §6.1, §6.2), and for a PCI Express function extended capabilities in 4096 (PCIe 6.0
 * §7.6). A mask per byte says which bits a write may change. Bytes of the first 256 that are
 * neither header nor capability are scratch memory, as QEMU's are. Ranges are [start, end).
 */
import {
  PCI_BASE_ADDRESS_0,
  PCI_BASE_ADDRESS_MEM_PREFETCH,
  PCI_BASE_ADDRESS_MEM_TYPE_64,
  PCI_BASE_ADDRESS_SPACE_IO,
  PCI_CACHE_LINE_SIZE,
  PCI_CAPABILITY_LIST,
  PCI_CFG_SPACE_SIZE,
  PCI_CLASS_PROG,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_IO,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_COMMAND_SERR,
  PCI_DEVICE_ID,
  PCI_INTERRUPT_LINE,
  PCI_INTERRUPT_PIN,
  PCI_REVISION_ID,
  PCI_STATUS,
  PCI_STATUS_CAP_LIST,
  PCI_STATUS_INTERRUPT,
  PCI_STD_HEADER_SIZEOF,
  PCI_SUBSYSTEM_ID,
  PCI_SUBSYSTEM_VENDOR_ID,
  PCI_VENDOR_ID,
} from '../../iommu/abi/pci-regs.ts';
import type { Halves } from '../../platform/mailbox.ts';

const STATUS_ERRORS = 0xf900; // parity, aborts, SERR: W1C; nothing here sets them

export interface Identity {
  readonly vendor: number;
  readonly device: number;
  /** 24 bits: base class, sub-class, programming interface. */
  readonly classCode: number;
  readonly revision: number;
  readonly subsystemVendor: number;
  readonly subsystem: number;
  /** 0 none, 1 INTA … 4 INTD. */
  readonly interruptPin: number;
}

/** The place and the kind of a BAR. The device says what is behind it. */
export interface BarShape {
  readonly index: number;
  readonly space: 'memory' | 'io';
  /** Bytes, a power of two: ≥ 16 in memory space, 4 to 256 in I/O space. */
  readonly size: number;
  /** A 64-bit BAR also takes the next index. I/O BARs have 32 bits and are not prefetchable. */
  readonly width: 32 | 64;
  readonly prefetchable: boolean;
}

export class ConfigSpace {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #atPowerOn: Uint8Array;
  /** Bits that software may change. */
  readonly #writable: Uint8Array;
  /** Bits that a written 1 clears. */
  readonly #clearable: Uint8Array;
  #nextCapability = PCI_STD_HEADER_SIZEOF;
  #lastPointer = PCI_CAPABILITY_LIST;
  #nextExtended = PCI_CFG_SPACE_SIZE;
  #lastExtended: number | undefined;

  /** `size`: 256, or 4096 with extended capabilities. */
  constructor(identity: Identity, bars: readonly BarShape[], size = PCI_CFG_SPACE_SIZE) {
    this.#bytes = new Uint8Array(size);
    this.#view = new DataView(this.#bytes.buffer);
    this.#atPowerOn = new Uint8Array(size);
    this.#writable = new Uint8Array(size);
    this.#clearable = new Uint8Array(size);
    this.set(PCI_VENDOR_ID, 2, identity.vendor);
    this.set(PCI_DEVICE_ID, 2, identity.device);
    this.set(PCI_REVISION_ID, 1, identity.revision);
    this.set(PCI_CLASS_PROG, 2, identity.classCode);
    this.set(PCI_CLASS_PROG + 2, 1, identity.classCode >>> 16);
    this.set(PCI_SUBSYSTEM_VENDOR_ID, 2, identity.subsystemVendor);
    this.set(PCI_SUBSYSTEM_ID, 2, identity.subsystem);
    this.set(PCI_INTERRUPT_PIN, 1, identity.interruptPin);
    // The bits QEMU's functions have, whether or not there is a BAR for each.
    this.allow(
      PCI_COMMAND,
      2,
      PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE,
    );
    this.allow(PCI_CACHE_LINE_SIZE, 1, 0xff);
    this.allow(PCI_INTERRUPT_LINE, 1, 0xff);
    this.#writable.fill(0xff, PCI_STD_HEADER_SIZEOF, PCI_CFG_SPACE_SIZE);
    this.#clearable[PCI_STATUS + 1] = STATUS_ERRORS >>> 8;
    for (const bar of bars) this.#addBar(bar);
  }

  /**
   * Adds a BAR register. Type bits are constant, and address bits down to the size are writable, so
   * sizing by all ones works (PCI 3.0 §6.2.5.1).
   */
  #addBar(bar: BarShape): void {
    const at = PCI_BASE_ADDRESS_0 + bar.index * 4;
    const memoryType =
      (bar.width === 64 ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0) | (bar.prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0);
    this.set(at, 4, bar.space === 'io' ? PCI_BASE_ADDRESS_SPACE_IO : memoryType);
    this.allow(at, 4, -bar.size >>> 0);
    if (bar.width === 64) this.allow(at + 4, 4, bar.size >= 2 ** 32 ? -(bar.size / 2 ** 32) >>> 0 : 0xffffffff);
  }

  /**
   * Appends a capability of `length` bytes (id and next pointer included) to the chain, and returns
   * its offset. All of it is read-only until allow().
   */
  addCapability(id: number, length: number): number {
    const at = this.#nextCapability;
    this.#writable.fill(0, at, at + length);
    this.set(at, 1, id);
    this.set(this.#lastPointer, 1, at);
    this.#lastPointer = at + 1;
    this.#nextCapability = Math.ceil((at + length) / 4) * 4;
    this.set(PCI_STATUS, 2, this.get(PCI_STATUS, 2) | PCI_STATUS_CAP_LIST);
    return at;
  }

  /** As addCapability, in the extended space; the header is its first four bytes. */
  addExtended(id: number, version: number, length: number): number {
    const at = this.#nextExtended;
    this.set(at, 4, id | (version << 16));
    if (this.#lastExtended !== undefined)
      this.set(this.#lastExtended + 2, 2, (at << 4) | this.get(this.#lastExtended + 2, 2));
    this.#lastExtended = at;
    this.#nextExtended = Math.ceil((at + length) / 4) * 4;
    return at;
  }

  /** What the function is at power-on: reset() comes back to it. Call it when all is added. */
  complete(): void {
    this.#atPowerOn.set(this.#bytes);
  }

  /** As at power-on. */
  reset(): void {
    this.#bytes.set(this.#atPowerOn);
  }

  /** Lets software write the bits of `mask`. */
  allow(offset: number, size: number, mask: number): void {
    for (let i = 0; i < size; i++) this.#writable[offset + i] = (mask >>> (8 * i)) & 0xff;
  }

  /** Lets software clear the bits of `mask` by writing 1. */
  allowClear(offset: number, size: number, mask: number): void {
    for (let i = 0; i < size; i++) this.#clearable[offset + i] = (mask >>> (8 * i)) & 0xff;
  }

  /** The device's own view: `size` (1, 2 or 4) bytes at `offset`. */
  get(offset: number, size: number): number {
    if (size === 4) return this.#view.getUint32(offset, true);
    return size === 2 ? this.#view.getUint16(offset, true) : this.#view.getUint8(offset);
  }

  /** The device's own store: no mask applies. */
  set(offset: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) this.#bytes[offset + i] = value >>> (8 * i);
  }

  /**
   * A configuration read by software: 1, 2 or 4 bytes inside the space; anything else reads ones.
   */
  read(offset: number, size: number): Halves {
    if (!this.#takes(offset, size)) return { lo: 0xffffffff, hi: 0xffffffff };
    return { lo: this.get(offset, size), hi: 0 };
  }

  /** A configuration write by software; as read. */
  write(offset: number, size: number, value: number): void {
    if (!this.#takes(offset, size)) return;
    for (let i = 0; i < size; i++) {
      const at = offset + i;
      const byte = (value >>> (8 * i)) & 0xff;
      const writable = this.#writable[at]!;
      const kept = this.#bytes[at]! & ~writable & ~(byte & this.#clearable[at]!);
      this.#bytes[at] = kept | (byte & writable);
    }
  }

  /** Whether COMMAND has all bits of `mask`. */
  command(mask: number): boolean {
    return (this.#view.getUint16(PCI_COMMAND, true) & mask) === mask;
  }

  /**
   * STATUS.Interrupt Status follows the level, whatever COMMAND.INTx-disable says (PCI 3.0 §6.2.3).
   */
  setInterruptStatus(on: boolean): void {
    const status = this.get(PCI_STATUS, 2);
    this.set(PCI_STATUS, 2, on ? status | PCI_STATUS_INTERRUPT : status & ~PCI_STATUS_INTERRUPT);
  }

  #takes(offset: number, size: number): boolean {
    return (size === 1 || size === 2 || size === 4) && offset % size === 0 && offset + size <= this.#bytes.length;
  }
}
