/**
 * Accesses to the register BARs of a device by one thread: by its register page while the device
 * looks at it, else by pread and pwrite. The bytes and errors are the same both ways.
 */
import { PCI_COMMAND } from '../../iommu/abi/pci-regs.ts';
import { RegisterPageClient } from '../../iommu/abi/register-page.ts';
import { VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_OFFSET_SHIFT } from '../../iommu/abi/vfio.ts';
import type { Halves } from '../../platform/mailbox.ts';
import type { SharedPart } from '../../platform/shared.ts';
import { viewOf } from '../../platform/struct.ts';
import type { FileCalls } from './task-channel.ts';

/** A device with so many accesses behind it asks for a register page. */
const BUSY_ACCESSES = 32;
const REGION_BYTES = 2 ** VFIO_PCI_OFFSET_SHIFT;
/** PCI-9: COMMAND is read from the device; the ids would be answered from the kernel's copy. */
const COMMAND = VFIO_PCI_CONFIG_REGION_INDEX * REGION_BYTES + PCI_COMMAND;

/** Bytes of one access. */
export type AccessSize = 1 | 2 | 4 | 8;

export class RegisterAccess implements Halves {
  readonly #calls: FileCalls;
  readonly #device: number;
  #page: RegisterPageClient | undefined;
  #accesses = 0;
  /** The bytes of an access by the kernel. */
  readonly #bytes = new Uint8Array(8);
  readonly #view = viewOf(this.#bytes);
  /** After a load: its value in two halves, unsigned. */
  lo = 0;
  hi = 0;

  /** `device` is its fd. `page` is this thread's; by default it is asked for when there is work. */
  constructor(calls: FileCalls, device: number, page?: SharedPart) {
    this.#calls = calls;
    this.#device = device;
    if (page) this.#use(page);
  }

  #use(page: SharedPart): void {
    const command = new Uint8Array(2);
    this.#page = new RegisterPageClient(page, () => void this.#calls.pread(this.#device, COMMAND, command));
  }

  /** pread(2) of a BAR: `at` is the offset in the BAR. */
  read(bar: number, at: number, into: Uint8Array): number {
    const { length } = into;
    if (!isAccess(length)) return this.#calls.pread(this.#device, bar * REGION_BYTES + at, into);
    const count = this.load(bar, at, length);
    for (let i = 0; i < count; i++) into[i] = (i < 4 ? this.lo : this.hi) >>> (8 * (i & 3));
    return count;
  }

  /** pwrite(2) of a BAR, as read(). */
  write(bar: number, at: number, bytes: Uint8Array): number {
    const { length } = bytes;
    if (!isAccess(length)) return this.#calls.pwrite(this.#device, bar * REGION_BYTES + at, bytes);
    const view = viewOf(bytes);
    const lo = length === 1 ? bytes[0]! : length === 2 ? view.getUint16(0, true) : view.getUint32(0, true);
    return this.store(bar, at, length, lo, length === 8 ? view.getUint32(4, true) : 0);
  }

  /**
   * Loads into `lo` and `hi`; returns the number of bytes that answered, as pread(2). The others
   * are ones.
   */
  // HOT (tools/bench/driver.ts)
  load(bar: number, at: number, size: AccessSize): number {
    const page = this.#busyPage();
    if (page?.allows(bar, at, size)) {
      if (!page.load(bar, at, size)) return this.#pread(bar, at, size);
      this.lo = size < 4 ? page.lo & ((1 << (8 * size)) - 1) : page.lo;
      this.hi = size === 8 ? page.hi : 0;
      return size;
    }
    if (!page || !inHalves(page, bar, at, size) || !page.load(bar, at, 4)) return this.#pread(bar, at, size);
    const { lo } = page;
    // the first half is made: of the other one is only left how it is made
    if (page.load(bar, at + 4, 4)) this.hi = page.lo;
    else {
      this.#pread(bar, at + 4, 4);
      this.hi = this.lo;
    }
    this.lo = lo;
    return size;
  }

  /** Stores `lo` and, if there are 8 bytes, `hi`; returns the number of bytes, as pwrite(2). */
  // HOT (tools/bench/driver.ts)
  store(bar: number, at: number, size: AccessSize, lo: number, hi: number): number {
    const page = this.#busyPage();
    if (page?.allows(bar, at, size))
      return page.store(bar, at, size, lo, hi) ? size : this.#pwrite(bar, at, size, lo, hi);
    if (!page || !inHalves(page, bar, at, size) || !page.store(bar, at, 4, lo, 0))
      return this.#pwrite(bar, at, size, lo, hi);
    return page.store(bar, at + 4, 4, hi, 0) ? size : 4 + this.#pwrite(bar, at + 4, 4, hi, 0);
  }

  #pread(bar: number, at: number, size: AccessSize): number {
    const count = this.#calls.pread(this.#device, bar * REGION_BYTES + at, this.#bytes.subarray(0, size));
    this.#bytes.fill(0xff, count, size).fill(0, size);
    this.lo = this.#view.getUint32(0, true);
    this.hi = this.#view.getUint32(4, true);
    return count;
  }

  #pwrite(bar: number, at: number, size: AccessSize, lo: number, hi: number): number {
    this.#view.setUint32(0, lo, true);
    this.#view.setUint32(4, hi, true);
    return this.#calls.pwrite(this.#device, bar * REGION_BYTES + at, this.#bytes.subarray(0, size));
  }

  #busyPage(): RegisterPageClient | undefined {
    if (!this.#page && this.#accesses++ === BUSY_ACCESSES) {
      const page = this.#calls.registerPage?.(this.#device);
      if (page) this.#use(page);
    }
    return this.#page;
  }
}

const isAccess = (length: number): length is AccessSize => length === 4 || length === 8 || length === 1 || length === 2;

/** PCI-7: whether the kernel would cut the access into two of 4 bytes, which the page can make. */
const inHalves = (page: RegisterPageClient, bar: number, at: number, size: number): boolean =>
  size === 8 && page.allows(bar, at, 4) && page.allows(bar, at + 4, 4);
