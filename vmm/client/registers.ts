/** Registers of 32 bits in a region of a device fd, as a driver reads and writes them. */
import { VFIO_PCI_OFFSET_SHIFT } from '../../iommu/abi/vfio.ts';
import { eio } from '../../platform/errno.ts';
import { hex } from '../../platform/hex.ts';
import { RegisterAccess } from './register-access.ts';
import type { FileCalls } from './task-channel.ts';

/** The interface that the drivers of drivers/ use. Offsets are in bytes, values are unsigned. */
export interface Registers {
  read(offset: number): number;
  write(offset: number, value: number): void;
}

/**
 * Registers in a region of a device fd. A read has reached the device when it returns, and all
 * writes before it have; a write may still be on its way (register-access.ts).
 */
export class RegionRegisters implements Registers {
  readonly #access: RegisterAccess;
  readonly #region: number;
  readonly #start: number;

  /** `start`: the region's offset in the device fd. */
  constructor(calls: FileCalls, device: number, start: number) {
    this.#access = new RegisterAccess(calls, device);
    this.#region = Math.floor(start / 2 ** VFIO_PCI_OFFSET_SHIFT);
    this.#start = start % 2 ** VFIO_PCI_OFFSET_SHIFT;
  }

  /** EIO: the region ends before `offset`, or the device's memory decoding is off. */
  read(offset: number): number {
    const count = this.#access.load(this.#region, this.#start + offset, 4);
    if (count !== 4) throw eio(`register ${hex(offset)}: ${count} bytes`);
    return this.#access.lo;
  }

  write(offset: number, value: number): void {
    this.#access.store(this.#region, this.#start + offset, 4, value >>> 0, 0);
  }
}
