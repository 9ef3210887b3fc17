/**
 * A PCI function that no board has, in process: it has the configuration space and BARs that a test
 * asks for, and a list of the BAR cycles.
 */
import type { PciAccess } from '../../iommu/kernel/vfio/pci/access.ts';
import type { Halves } from '../../platform/mailbox.ts';

export interface FakeBar {
  readonly index: number;
  readonly size: number;
  readonly is64?: boolean;
  /** Ports. */
  readonly isIo?: boolean;
}

export class FakeFunction implements PciAccess {
  readonly config = new Uint8Array(256);
  readonly #view = new DataView(this.config.buffer);
  readonly #writable = new Uint8Array(256);
  /** `r4 0:10`: each BAR cycle, in order. */
  readonly cycles: string[] = [];
  readonly memory = new Map<number, Uint8Array>();

  constructor(bars: readonly FakeBar[]) {
    this.set(0, 4, 0x11e8_1234);
    this.allow(4, 2, 0x0507);
    this.set(4, 2, 0x0103);
    this.allow(0x0c, 2, 0xffff);
    this.set(0x3c, 2, 0x010b);
    this.allow(0x3c, 1, 0xff);
    for (const { index, size, is64, isIo } of bars) {
      const at = 0x10 + 4 * index;
      this.set(at, 4, is64 ? 4 : isIo ? 1 : 0);
      this.allow(at, 4, -size >>> 0);
      if (is64) this.allow(at + 4, 4, size >= 2 ** 32 ? -(size / 2 ** 32) >>> 0 : 0xffff_ffff);
      this.memory.set(index, new Uint8Array(Math.min(size, 1 << 20)));
    }
  }

  /** Adds capabilities in this order, from 0x40 on: bytes after the id and next pointer. */
  capabilities(...list: readonly (readonly [id: number, at: number, body: readonly number[]])[]): void {
    this.set(6, 2, 0x10);
    let pointer = 0x34;
    for (const [id, at, body] of list) {
      this.config[pointer] = at;
      this.config.set([id, 0, ...body], at);
      pointer = at + 1;
    }
  }

  set(at: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) this.config[at + i] = value >>> (8 * i);
  }

  allow(at: number, size: number, mask: number): void {
    for (let i = 0; i < size; i++) this.#writable[at + i] = mask >>> (8 * i);
  }

  readConfig(offset: number, size: number): number {
    if (size === 4) return this.#view.getUint32(offset, true);
    return size === 2 ? this.#view.getUint16(offset, true) : this.config[offset]!;
  }

  writeConfig(offset: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) {
      const mask = this.#writable[offset + i]!;
      this.config[offset + i] = (this.config[offset + i]! & ~mask) | ((value >>> (8 * i)) & mask);
    }
  }

  readBar(bar: number, offset: number, size: number): Halves {
    this.cycles.push(`r${size} ${bar}:${offset.toString(16)}`);
    const bytes = new Uint8Array(8);
    bytes.set(this.memory.get(bar)!.subarray(offset, offset + size));
    const view = new DataView(bytes.buffer);
    return { lo: view.getUint32(0, true), hi: view.getUint32(4, true) };
  }

  writeBar(bar: number, offset: number, size: number, { lo, hi }: Halves): void {
    this.cycles.push(`w${size} ${bar}:${offset.toString(16)}`);
    const view = new DataView(new ArrayBuffer(8));
    view.setUint32(0, lo, true);
    view.setUint32(4, hi, true);
    this.memory.get(bar)!.set(new Uint8Array(view.buffer, 0, size), offset);
  }
}
