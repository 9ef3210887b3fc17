/**
 * MSI-X (PCI 3.0 §6.8.2, §6.8.3): each vector has an address, data and a mask of its own, in a
 * table that lies in a BAR. A message of a masked vector pends: its bit in the Pending Bit Array is
 * set, and it is sent when the mask is lifted. Table and array have a BAR to themselves, as most of
 * QEMU's devices have it (msix_init_exclusive_bar).
 */
import {
  PCI_CAP_ID_MSIX,
  PCI_CAP_MSIX_SIZEOF,
  PCI_MSIX_ENTRY_CTRL_MASKBIT,
  PCI_MSIX_ENTRY_DATA,
  PCI_MSIX_ENTRY_LOWER_ADDR,
  PCI_MSIX_ENTRY_SIZE,
  PCI_MSIX_ENTRY_UPPER_ADDR,
  PCI_MSIX_ENTRY_VECTOR_CTRL,
  PCI_MSIX_FLAGS,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_FLAGS_MASKALL,
  PCI_MSIX_PBA,
  PCI_MSIX_TABLE,
} from '../../iommu/abi/pci-regs.ts';
import type { Halves } from '../../platform/mailbox.ts';
import { bytes, integer, list, object, type Shaped } from '../../platform/shape.ts';
import { type Registers, word } from './bar-access.ts';
import type { ConfigSpace } from './config-space.ts';
import type { Message } from './msi.ts';

/** As many as fit into half of the BAR. */
export const MAX_MSIX_VECTORS = 128;

/** The BAR of table and Pending Bit Array. No device that can have it has a BAR of that index. */
export const MSIX_BAR = 1;
export const MSIX_BAR_BYTES = 4096;
const PBA_START = 0x800;

/** What a save keeps; the control register is in configuration space. */
export const MSIX_STATE = object({ entries: bytes, pending: list(integer) });

export type MsixState = Shaped<typeof MSIX_STATE>;

export class MsixCapability implements Registers {
  readonly bar = MSIX_BAR;
  readonly nrVectors: number;
  readonly #config: ConfigSpace;
  readonly #at: number;
  readonly #entries: DataView;
  /** A bit for each vector. */
  readonly #pending: Uint32Array;
  /** Sends a message. Given by the function's interrupts. */
  #send: (message: Message) => boolean = () => true;

  constructor(config: ConfigSpace, nrVectors: number) {
    this.#config = config;
    this.nrVectors = nrVectors;
    this.#at = config.addCapability(PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);
    config.set(this.#at + PCI_MSIX_FLAGS, 2, nrVectors - 1);
    config.allow(this.#at + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    config.set(this.#at + PCI_MSIX_TABLE, 4, MSIX_BAR);
    config.set(this.#at + PCI_MSIX_PBA, 4, PBA_START | MSIX_BAR);
    this.#entries = new DataView(new ArrayBuffer(nrVectors * PCI_MSIX_ENTRY_SIZE));
    this.#pending = new Uint32Array(2 * Math.ceil(nrVectors / 64));
    this.reset();
  }

  /** As at power-on: every vector is masked, and nothing pends. */
  reset(): void {
    for (let vector = 0; vector < this.nrVectors; vector++) {
      for (let at = 0; at < PCI_MSIX_ENTRY_SIZE; at += 4) this.#set(vector, at, 0);
      this.#set(vector, PCI_MSIX_ENTRY_VECTOR_CTRL, PCI_MSIX_ENTRY_CTRL_MASKBIT);
    }
    this.#pending.fill(0);
  }

  save(): MsixState {
    const { buffer, byteLength } = this.#entries;
    return { entries: new Uint8Array(buffer.slice(0, byteLength)), pending: [...this.#pending] };
  }

  /** Takes the table of an earlier one with as many vectors; sends nothing. */
  restore({ entries, pending }: MsixState): void {
    new Uint8Array(this.#entries.buffer).set(entries.subarray(0, this.#entries.byteLength));
    this.#pending.set(pending.slice(0, this.#pending.length));
  }

  /** Messages go there from now on. */
  connect(send: (message: Message) => boolean): void {
    this.#send = send;
  }

  enabled(): boolean {
    return (this.#flags() & PCI_MSIX_FLAGS_ENABLE) !== 0;
  }

  #flags(): number {
    return this.#config.get(this.#at + PCI_MSIX_FLAGS, 2);
  }

  /** Whether a message of this vector would pend now. */
  isMasked(vector: number): boolean {
    if ((this.#flags() & (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)) !== PCI_MSIX_FLAGS_ENABLE) return true;
    return (this.#get(vector, PCI_MSIX_ENTRY_VECTOR_CTRL) & PCI_MSIX_ENTRY_CTRL_MASKBIT) !== 0;
  }

  isPending(vector: number): boolean {
    return (this.#pending[vector >>> 5]! & (1 << (vector & 31))) !== 0;
  }

  setPending(vector: number): void {
    this.#pending[vector >>> 5]! |= 1 << (vector & 31);
  }

  message(vector: number): Message {
    const low = this.#get(vector, PCI_MSIX_ENTRY_LOWER_ADDR);
    return {
      vpn: this.#get(vector, PCI_MSIX_ENTRY_UPPER_ADDR) * 2 ** 20 + (low >>> 12),
      offset: low & 0xffc,
      data: this.#get(vector, PCI_MSIX_ENTRY_DATA),
    };
  }

  /** Sends what pends and is masked no more. Called when a mask may have been lifted. */
  sendPending(): void {
    if (!this.enabled()) return;
    for (let vector = 0; vector < this.nrVectors; vector++) this.#sendIfPending(vector);
  }

  #sendIfPending(vector: number): void {
    if (!this.isPending(vector) || this.isMasked(vector)) return;
    this.#pending[vector >>> 5]! &= ~(1 << (vector & 31));
    this.#send(this.message(vector));
  }

  read(offset: number): Halves {
    if (offset < this.#entries.byteLength) return word(this.#entries.getUint32(offset, true));
    return word(this.#pending[(offset - PBA_START) / 4] ?? 0);
  }

  /** The array is read only. Of the vector control only the mask bit can be written. */
  write(offset: number, _size: number, lo: number): void {
    if (offset >= this.#entries.byteLength) return;
    const vector = Math.floor(offset / PCI_MSIX_ENTRY_SIZE);
    const at = offset % PCI_MSIX_ENTRY_SIZE;
    this.#set(vector, at, at === PCI_MSIX_ENTRY_VECTOR_CTRL ? lo & PCI_MSIX_ENTRY_CTRL_MASKBIT : lo);
    if (at === PCI_MSIX_ENTRY_VECTOR_CTRL) this.#sendIfPending(vector);
  }

  #get(vector: number, at: number): number {
    return this.#entries.getUint32(vector * PCI_MSIX_ENTRY_SIZE + at, true);
  }

  #set(vector: number, at: number, value: number): void {
    this.#entries.setUint32(vector * PCI_MSIX_ENTRY_SIZE + at, value, true);
  }
}
