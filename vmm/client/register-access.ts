/**
 * Accesses to the register BARs of a device by one thread: by its register page while the device
 * looks at it, else by pread and pwrite. The bytes and errors are the same both ways.
 */
import { PCI_COMMAND } from '../../iommu/abi/pci-regs.ts';
import { RegisterPageClient } from '../../iommu/abi/register-page.ts';
import { VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_OFFSET_SHIFT } from '../../iommu/abi/vfio.ts';
import type { SharedPart } from '../../platform/shared.ts';
import { viewOf } from '../../platform/struct.ts';
import type { FileCalls } from './task-channel.ts';

/** A device with so many accesses behind it asks for a register page. */
const BUSY_ACCESSES = 32;
const REGION_BYTES = 2 ** VFIO_PCI_OFFSET_SHIFT;
/** PCI-9: COMMAND is read from the device; the ids would be answered from the kernel's copy. */
const COMMAND = VFIO_PCI_CONFIG_REGION_INDEX * REGION_BYTES + PCI_COMMAND;

export class RegisterAccess {
  readonly #calls: FileCalls;
  readonly #device: number;
  #page: RegisterPageClient | undefined;
  #accesses = 0;

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
    const page = this.#pageFor(bar, at, into.length);
    if (!page?.load(bar, at, into.length)) return this.#calls.pread(this.#device, bar * REGION_BYTES + at, into);
    put(into, page.lo, page.hi);
    return into.length;
  }

  /** pwrite(2) of a BAR, as read(). */
  write(bar: number, at: number, bytes: Uint8Array): number {
    const page = this.#pageFor(bar, at, bytes.length);
    const { length } = bytes;
    if (page) {
      const view = viewOf(bytes);
      const lo = length === 1 ? bytes[0]! : length === 2 ? view.getUint16(0, true) : view.getUint32(0, true);
      if (page.store(bar, at, length, lo, length === 8 ? view.getUint32(4, true) : 0)) return length;
    }
    return this.#calls.pwrite(this.#device, bar * REGION_BYTES + at, bytes);
  }

  /** The page, if the kernel would make this access in one piece and the page can. */
  #pageFor(bar: number, at: number, length: number): RegisterPageClient | undefined {
    if (!this.#page && this.#accesses++ === BUSY_ACCESSES) {
      const page = this.#calls.registerPage?.(this.#device);
      if (page) this.#use(page);
    }
    return this.#page?.allows(bar, at, length) ? this.#page : undefined;
  }
}

function put(into: Uint8Array, lo: number, hi: number): void {
  for (let i = 0; i < into.length; i++) into[i] = (i < 4 ? lo : hi) >>> (8 * (i & 3));
}
