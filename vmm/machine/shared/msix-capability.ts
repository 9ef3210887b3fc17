/**
 * MSI-X as the guest sees it (PCI 3.0 §6.8.2): the control register and the table are kept here,
 * because only SET_IRQS drives the real ones (PCI-12). The pending bits are the device's own. A
 * vector that the guest masks has no eventfd, so the device keeps its message, over an update, too.
 */
import { integer, list, object, type Shaped } from '../../../platform/shape.ts';

const CONTROL_ENABLE = 1 << 15;
const CONTROL_MASK_ALL = 1 << 14;
const CONTROL_VECTORS = 0x7ff; // their number, less one
const CAPABILITY_BYTES = 12;
const ENTRY_BYTES = 16;
const ENTRY_WORDS = ENTRY_BYTES / 4;
/** Words of an entry. */
const ADDRESS = 0;
const ADDRESS_HIGH = 1;
const DATA = 2;
const VECTOR_CONTROL = 3;
const VECTOR_MASKED = 1;
const BAR = 7;

export const MSIX_STATE = object({
  /** Offset of the capability in config space, and its first dword's id and next pointer. */
  offset: integer,
  header: integer,
  control: integer,
  /** Where the table and the pending bits lie, as the capability says it. */
  table: integer,
  pending: integer,
  /** Four words for each vector. */
  entries: list(integer),
});

export type MsixState = Shaped<typeof MSIX_STATE>;

export class MsixCapability {
  readonly #state: Omit<MsixState, 'control' | 'entries'>;
  readonly #entries: Uint32Array;
  #control: number;

  constructor({ control, entries, ...state }: MsixState) {
    this.#state = state;
    this.#control = control;
    this.#entries = Uint32Array.from(entries);
  }

  /** The capability as a device has it after reset, read from its three dwords. */
  static fromDevice(offset: number, dwords: readonly [number, number, number]): MsixCapability {
    const control = (dwords[0] >>> 16) & CONTROL_VECTORS;
    const [table, pending] = [dwords[1], dwords[2]];
    const entries = Array<number>((control + 1) * ENTRY_WORDS).fill(0);
    const capability = new MsixCapability({ offset, header: dwords[0] & 0xffff, control, table, pending, entries });
    capability.reset();
    return capability;
  }

  save(): MsixState {
    return { ...this.#state, control: this.#control, entries: [...this.#entries] };
  }

  /** Every vector is masked. */
  reset(): void {
    this.#control &= CONTROL_VECTORS;
    this.#entries.forEach((_, word) => {
      this.#entries[word] = word % ENTRY_WORDS === VECTOR_CONTROL ? VECTOR_MASKED : 0;
    });
  }

  get enabled(): boolean {
    return (this.#control & CONTROL_ENABLE) !== 0;
  }

  get vectors(): number {
    return (this.#control & CONTROL_VECTORS) + 1;
  }

  /** Which vectors may send now. */
  unmasked(): boolean[] {
    const all = this.enabled && (this.#control & CONTROL_MASK_ALL) === 0;
    return Array.from({ length: this.vectors }, (_, vector) => {
      return all && (this.#word(vector, VECTOR_CONTROL) & VECTOR_MASKED) === 0;
    });
  }

  message(vector: number): { readonly gpa: number; readonly data: number } {
    const gpa = this.#word(vector, ADDRESS_HIGH) * 2 ** 32 + this.#word(vector, ADDRESS);
    return { gpa, data: this.#word(vector, DATA) };
  }

  #word(vector: number, word: number): number {
    return this.#entries[vector * ENTRY_WORDS + word]!;
  }

  /** Whether the dword at `offset` of config space belongs to the capability. */
  covers(offset: number): boolean {
    return offset >= this.#state.offset && offset < this.#state.offset + CAPABILITY_BYTES;
  }

  readDword(offset: number): number {
    const { header, table, pending } = this.#state;
    return [((this.#control << 16) | header) >>> 0, table, pending][(offset - this.#state.offset) / 4]!;
  }

  /** Only enable and the mask of all vectors can be written. */
  writeDword(offset: number, dword: number): void {
    if (offset !== this.#state.offset) return;
    const writable = CONTROL_ENABLE | CONTROL_MASK_ALL;
    this.#control = (this.#control & CONTROL_VECTORS) | ((dword >>> 16) & writable);
  }

  /** Whether an access of `size` bytes at `offset` of a BAR touches the table. */
  coversTable(bar: number, offset: number, size: number): boolean {
    const start = this.#tableStart();
    return bar === (this.#state.table & BAR) && offset + size > start && offset < start + this.#entries.byteLength;
  }

  #tableStart(): number {
    return (this.#state.table & ~BAR) >>> 0;
  }

  /** 4 or 8 bytes, aligned; anything else reads 0. */
  loadTable(offset: number, size: number): bigint {
    const word = this.#wordAt(offset, size);
    if (word === undefined) return 0n;
    const low = BigInt(this.#entries[word]!);
    return size === 8 ? low | (BigInt(this.#entries[word + 1]!) << 32n) : low;
  }

  /** As loadTable. Of the vector control only the mask bit can be written. */
  storeTable(offset: number, size: number, value: bigint): void {
    const word = this.#wordAt(offset, size);
    if (word === undefined) return;
    this.#set(word, Number(value & 0xffff_ffffn));
    if (size === 8) this.#set(word + 1, Number(value >> 32n));
  }

  #set(word: number, value: number): void {
    this.#entries[word] = word % ENTRY_WORDS === VECTOR_CONTROL ? value & VECTOR_MASKED : value;
  }

  /** The word of an access inside the table; undefined for one that no table takes. */
  #wordAt(offset: number, size: number): number | undefined {
    const at = offset - this.#tableStart();
    return size >= 4 && at % size === 0 && at >= 0 ? at / 4 : undefined;
  }
}
