/**
 * QEMU's firmware configuration device over MMIO (QEMU docs/specs/fw_cfg.rst; docs/machine.md,
 * "fw_cfg"): items by number, and files by name. Numbers are big endian where the guest reads a
 * register or a directory, little endian in items of their own.
 */
import type { VirtioMemory } from '../../../devices/virtio/queue.ts';
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import { defineSection, type StateOf } from '../../../platform/section.ts';
import { big, integer } from '../../../platform/shape.ts';
import type { MmioDevice } from './bus.ts';

export const FW_CFG_SECTION = defineSection('fw-cfg', 1, {
  /** The item that was selected, and how far the guest has read it. */
  selected: integer,
  offset: integer,
  /** Upper half of an address that the guest writes in two. */
  dmaHigh: big,
});

export type FwCfgState = StateOf<typeof FW_CFG_SECTION>;

/** Items by number. */
export const ITEM = {
  SIGNATURE: 0x00,
  ID: 0x01,
  UUID: 0x02,
  NOGRAPHIC: 0x04,
  NB_CPUS: 0x05,
  KERNEL_SIZE: 0x08,
  INITRD_SIZE: 0x0b,
  BOOT_MENU: 0x0e,
  KERNEL_DATA: 0x11,
  INITRD_DATA: 0x12,
  CMDLINE_SIZE: 0x14,
  CMDLINE_DATA: 0x15,
  FILE_DIR: 0x19,
  FIRST_FILE: 0x20,
} as const;

export const MOST_FILES = 0x20;
export const LONGEST_NAME = 55;
const DIRECTORY_ENTRY = 64;
const NAME_AT = 8;
/** Bits of a selector that are no part of the number: to write, and items of the architecture. */
const ARCH_LOCAL = 0x8000;
const NUMBER = 0x3fff;
const WITH_DMA = 3;

const [DATA, SELECTOR, DMA, DMA_LOW] = [0x00, 0x08, 0x10, 0x14];
const DMA_SIGNATURE = 0x51454d5520434647n; // "QEMU CFG"
const [DMA_ERROR, DMA_READ, DMA_SKIP, DMA_SELECT, DMA_WRITE] = [1, 2, 4, 8, 16];
const DESCRIPTOR = 16;
const NOTHING = new Uint8Array();
/** Zeros behind an item come in pieces of this size. */
const PIECE = 65_536;

/** Content that is made when the guest asks for it. */
export type Content = () => Uint8Array;

export interface FwCfgContents {
  /** By number. */
  readonly items: ReadonlyMap<number, Content>;
  /** By name, of at most LONGEST_NAME bytes. */
  readonly files: ReadonlyMap<string, Content>;
}

export class FwCfg implements MmioDevice {
  readonly maxAccess = 8;
  readonly #memory: VirtioMemory;
  readonly #items: ReadonlyMap<number, Content>;
  readonly #made = new Map<number, Uint8Array>();
  #selected = 0;
  #offset = 0;
  #dmaHigh = 0n;

  constructor(memory: VirtioMemory, { items, files }: FwCfgContents) {
    this.#memory = memory;
    const sorted = [...files].sort(([a], [b]) => (a < b ? -1 : 1));
    this.#items = new Map([
      [ITEM.SIGNATURE, () => Buffer.from('QEMU')],
      [ITEM.ID, () => u32(WITH_DMA)],
      [ITEM.UUID, () => new Uint8Array(16)],
      [ITEM.FILE_DIR, () => directory(sorted)],
      ...items,
      ...sorted.map(([, content], i) => [ITEM.FIRST_FILE + i, content] as const),
    ]);
  }

  /** Reads of the data register go on in the item, in the order of bytes. */
  load(offset: number, size: AccessSize): bigint | undefined {
    if (offset === DATA) {
      let value = 0n;
      for (let i = 0; i < size; i++) value |= BigInt(this.#next()) << BigInt(8 * i);
      return value;
    }
    if (offset === DMA && size === 8) return swapped(DMA_SIGNATURE, 8);
    if (offset === DMA && size === 4) return swapped(DMA_SIGNATURE >> 32n, 4);
    if (offset === DMA_LOW && size === 4) return swapped(DMA_SIGNATURE & 0xffff_ffffn, 4);
    return 0n;
  }

  store(offset: number, size: AccessSize, value: bigint): boolean {
    if (offset === SELECTOR && size === 2) this.#select(Number(swapped(value, 2)));
    else if (offset === DMA && size === 8) this.#transfer(swapped(value, 8));
    else if (offset === DMA && size === 4) this.#dmaHigh = swapped(value, 4);
    else if (offset === DMA_LOW && size === 4) this.#transfer((this.#dmaHigh << 32n) | swapped(value, 4));
    return true; // items cannot be written by the data register
  }

  reset(): void {
    this.#select(0);
    this.#dmaHigh = 0n;
  }

  save(): FwCfgState {
    return FW_CFG_SECTION.of({ selected: this.#selected, offset: this.#offset, dmaHigh: this.#dmaHigh });
  }

  restore({ selected, offset, dmaHigh }: FwCfgState): void {
    this.#selected = selected;
    this.#offset = offset;
    this.#dmaHigh = dmaHigh;
  }

  #select(key: number): void {
    this.#selected = key;
    this.#offset = 0;
  }

  /** The selected item; an empty one where there is none. */
  #item(): Uint8Array {
    const number = this.#selected & NUMBER;
    const made = this.#selected & ARCH_LOCAL ? NOTHING : this.#made.get(number);
    if (made) return made;
    const bytes = this.#items.get(number)?.() ?? NOTHING;
    this.#made.set(number, bytes);
    return bytes;
  }

  #next(): number {
    const item = this.#item();
    return this.#offset < item.length ? item[this.#offset++]! : 0;
  }

  /** The command whose descriptor is at `at`: its control word is the answer. */
  #transfer(at: bigint): void {
    this.#dmaHigh = 0n;
    const descriptor = new Uint8Array(DESCRIPTOR);
    const address = Number(at);
    if (!this.#memory.read(address, descriptor)) {
      this.#memory.write(address, bigEndian(DMA_ERROR));
      return;
    }
    const view = new DataView(descriptor.buffer);
    const control = view.getUint32(0);
    if (control & DMA_SELECT) this.#select(control >>> 16);
    const done = this.#move(control, Number(view.getBigUint64(8)), view.getUint32(4));
    this.#memory.write(address, bigEndian(done ? 0 : DMA_ERROR)); // after the data
  }

  /** Whether all was done. No item can be written. */
  #move(control: number, to: number, length: number): boolean {
    if (control & DMA_READ) return this.#copy(to, length);
    if (control & DMA_WRITE) return length === 0;
    if (control & DMA_SKIP) this.#offset = Math.min(this.#offset + length, this.#item().length);
    return true;
  }

  /** The rest of the item, and zeros behind it. */
  #copy(to: number, length: number): boolean {
    const rest = this.#item().subarray(this.#offset, this.#offset + length);
    if (rest.length > 0 && !this.#memory.write(to, rest)) return false;
    this.#offset += rest.length;
    for (let done = rest.length; done < length; done += PIECE) {
      if (!this.#memory.write(to + done, new Uint8Array(Math.min(PIECE, length - done)))) return false;
    }
    return true;
  }
}

/** Number of files, then for each: size, number, 0, name. */
function directory(files: readonly (readonly [string, Content])[]): Uint8Array {
  const bytes = new Uint8Array(4 + files.length * DIRECTORY_ENTRY);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, files.length);
  for (const [i, [name, content]] of files.entries()) {
    const at = 4 + i * DIRECTORY_ENTRY;
    view.setUint32(at, content().length);
    view.setUint16(at + 4, ITEM.FIRST_FILE + i);
    bytes.set(Buffer.from(name), at + NAME_AT);
  }
  return bytes;
}

/** The low `size` bytes in the other order. */
function swapped(value: bigint, size: number): bigint {
  let out = 0n;
  for (let i = 0; i < size; i++) out = (out << 8n) | ((value >> BigInt(8 * i)) & 0xffn);
  return out;
}

const bigEndian = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
};

/** An item that is a number. */
export const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
export const u16 = (value: number): Uint8Array => new Uint8Array(Uint16Array.of(value).buffer);
