/** A driver of mscribe, a device that does jobs from a ring in memory (devices/mscribe/regs.ts). */
import {
  CONTROL_ENABLE,
  CONTROL_RESET,
  Descriptor,
  JOB_IRQ,
  OP_COPY,
  OP_FILL,
  REG,
  STATE_ERROR,
} from '../../../devices/mscribe/regs.ts';
import { viewOf } from '../../../platform/struct.ts';
import type { Registers } from '../registers.ts';

export {
  DESCRIPTOR_BYTES,
  STATUS_DESTINATION_REFUSED,
  STATUS_DONE,
  STATUS_SOURCE_REFUSED,
} from '../../../devices/mscribe/regs.ts';

export interface Job {
  readonly operation: 'copy' | 'fill';
  /** copy: the iova to copy from; fill: 8 bytes to repeat. */
  readonly source: number | bigint;
  /** iova */
  readonly destination: number | bigint;
  /** Bytes, at most 1 MiB. */
  readonly length: number;
  /** Whether the device interrupts when the job is done. */
  readonly interrupt?: boolean;
}

/** The descriptor of a job. It belongs into slot n mod the ring's size. */
export function encodeJob({ operation, source, destination, length, interrupt = false }: Job): Uint8Array {
  const command = (operation === 'copy' ? OP_COPY : OP_FILL) | (interrupt ? JOB_IRQ : 0);
  return Descriptor.bytes({ command, length, source: BigInt(source), destination: BigInt(destination) });
}

export interface JobResult {
  /** Bytes that the device has written at the destination. */
  readonly written: number;
  /** STATUS_*, 0 while the job is not done. */
  readonly status: number;
}

/** Reads the result that the device has written into a descriptor. */
export function readResult(descriptor: Uint8Array): JobResult {
  const { written, status } = Descriptor.read(viewOf(descriptor));
  return { written, status };
}

/**
 * The registers that reset the device and start it on the ring of `size` descriptors at `iova`, in
 * order.
 */
export function ringWrites(iova: number, size: number): readonly (readonly [offset: number, value: number])[] {
  return [
    [REG.CONTROL, CONTROL_RESET],
    [REG.RING_LO, iova % 2 ** 32],
    [REG.RING_HI, Math.floor(iova / 2 ** 32)],
    [REG.RING_SIZE, size],
    [REG.CONTROL, CONTROL_ENABLE],
  ];
}

export class Mscribe {
  readonly #registers: Registers;

  constructor(registers: Registers) {
    this.#registers = registers;
  }

  /** Drops all jobs. */
  reset(): void {
    this.#registers.write(REG.CONTROL, CONTROL_RESET);
  }

  /**
   * Resets the device and gives it a ring. `iova` is a multiple of 32; `size` is the number of
   * descriptors, a power of two from 2 to 4096.
   */
  start(iova: number, size: number): void {
    for (const [offset, value] of ringWrites(iova, size)) this.#registers.write(offset, value);
  }

  /** Tells the device that `tail` jobs have been put into the ring since the start. */
  submit(tail: number): void {
    this.#registers.write(REG.TAIL, tail);
  }

  /** Number of jobs that have ended since the start. */
  ended(): number {
    return this.#registers.read(REG.HEAD);
  }

  /** Whether the ring is bad or cannot be reached. It stays so until the next start. */
  hasFailed(): boolean {
    return (this.#registers.read(REG.STATUS) & STATE_ERROR) !== 0;
  }
}
