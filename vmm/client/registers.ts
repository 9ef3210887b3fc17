/** Registers of 32 bits in a region of a device fd, as a driver reads and writes them. */
import { eio } from '../../platform/errno.ts';
import { hex } from '../../platform/hex.ts';
import { viewOf } from '../../platform/struct.ts';
import type { FileCalls } from './task-channel.ts';

/** The interface that the drivers of drivers/ use. Offsets are in bytes, values are unsigned. */
export interface Registers {
  read(offset: number): number;
  write(offset: number, value: number): void;
}

/**
 * Registers by pread and pwrite. Each access is a system call, and has reached the device when it
 * returns.
 */
export class RegionRegisters implements Registers {
  readonly #calls: FileCalls;
  readonly #device: number;
  readonly #start: number;
  readonly #word = new Uint8Array(4);
  readonly #view = viewOf(this.#word);

  /** `start`: the region's offset in the device fd. */
  constructor(calls: FileCalls, device: number, start: number) {
    this.#calls = calls;
    this.#device = device;
    this.#start = start;
  }

  /** EIO: the region ends before `offset`, or the device's memory decoding is off. */
  read(offset: number): number {
    const count = this.#calls.pread(this.#device, this.#start + offset, this.#word);
    if (count !== 4) throw eio(`register ${hex(offset)}: ${count} bytes`);
    return this.#view.getUint32(0, true);
  }

  write(offset: number, value: number): void {
    this.#view.setUint32(0, value >>> 0, true);
    this.#calls.pwrite(this.#device, this.#start + offset, this.#word);
  }
}
