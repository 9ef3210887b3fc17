/**
 * A driver of edu: factorials, the device's interrupt, and DMA between the bus and its buffer of 4
 * KiB (docs/machine.md, "edu: registers").
 */
import {
  BUFFER_BYTES,
  BUFFER_START,
  DMA_IRQ,
  DMA_RUN,
  DMA_TO_BUS,
  ID_VALUE,
  REG,
  STATUS_COMPUTING,
} from '../../../devices/edu/regs.ts';
import { einval, enodev } from '../../../platform/errno.ts';
import { hex, hexRange } from '../../../platform/hex.ts';
import type { Registers } from '../registers.ts';
import { pollUntil } from './polling.ts';

const RUN = Number(DMA_RUN);
const TO_BUS = Number(DMA_TO_BUS);
const IRQ = Number(DMA_IRQ);
const BUFFER = Number(BUFFER_START);

/** Size of the device's buffer in bytes. */
export const EDU_BUFFER_BYTES = BUFFER_BYTES;

export interface EduTransfer {
  /** From the bus into the buffer, or from the buffer to the bus. */
  readonly direction: 'from-bus' | 'to-bus';
  readonly iova: number;
  readonly length: number;
  /** Offset in the buffer; 0 by default. */
  readonly at?: number;
  /** Whether the device interrupts when the transfer is done. */
  readonly interrupt?: boolean;
}

/**
 * The registers that start a transfer, in order. EINVAL: the iova is 2^32 or higher, because
 * registers are written with 4 bytes, or there are more bytes than the buffer has.
 */
export function eduTransferWrites(transfer: EduTransfer): readonly (readonly [offset: number, value: number])[] {
  const { direction, iova, length, at = 0, interrupt = false } = transfer;
  if (iova + length > 2 ** 32) throw einval(`edu: iova ${hexRange(iova, length)} does not fit into 32 bits`);
  if (at + length > BUFFER_BYTES) throw einval(`edu: the buffer has ${BUFFER_BYTES} bytes`);
  const [source, destination] = direction === 'from-bus' ? [iova, BUFFER + at] : [BUFFER + at, iova];
  return [
    [REG.DMA_SOURCE, source],
    [REG.DMA_DESTINATION, destination],
    [REG.DMA_COUNT, length],
    [REG.DMA_COMMAND, RUN | (direction === 'from-bus' ? 0 : TO_BUS) | (interrupt ? IRQ : 0)],
  ];
}

/** Whether a transfer is under way; `command` is the value of DMA_COMMAND. */
export const isEduTransferring = (command: number): boolean => (command & RUN) !== 0;

export class Edu {
  readonly #registers: Registers;

  constructor(registers: Registers) {
    this.#registers = registers;
  }

  /** ENODEV: this is no edu. */
  check(): void {
    const id = this.#registers.read(REG.ID);
    if (id !== ID_VALUE) throw enodev(`no edu: its id is ${hex(id)}`);
  }

  /** n! mod 2^32. The device computes it; the driver waits. ETIMEDOUT. */
  factorial(n: number): number {
    const registers = this.#registers;
    registers.write(REG.FACTORIAL, n);
    pollUntil(() => (registers.read(REG.STATUS) & STATUS_COMPUTING) === 0, 'edu: a factorial');
    return registers.read(REG.FACTORIAL);
  }

  /** Makes the device interrupt, with these bits in its interrupt status. */
  raise(bits: number): void {
    this.#registers.write(REG.IRQ_RAISE, bits);
  }

  /** Takes the device's interrupt back; returns the bits of its interrupt status. */
  acknowledge(): number {
    const bits = this.#registers.read(REG.IRQ_STATUS);
    this.#registers.write(REG.IRQ_ACK, bits);
    return bits;
  }

  /**
   * Starts a transfer. EINVAL as eduTransferWrites(). Refused accesses are not reported: reads give
   * zeros and writes are dropped.
   */
  start(transfer: EduTransfer): void {
    for (const [offset, value] of eduTransferWrites(transfer)) this.#registers.write(offset, value);
  }

  isTransferring(): boolean {
    return isEduTransferring(this.#registers.read(REG.DMA_COMMAND));
  }

  /** Reads from the bus into the beginning of the buffer; returns when it is done. ETIMEDOUT. */
  readBus(iova: number, length: number): void {
    this.#transfer({ direction: 'from-bus', iova, length });
  }

  /** Writes from the beginning of the buffer to the bus; returns when it is done. ETIMEDOUT. */
  writeBus(iova: number, length: number): void {
    this.#transfer({ direction: 'to-bus', iova, length });
  }

  #transfer(transfer: EduTransfer): void {
    this.start(transfer);
    pollUntil(() => !this.isTransferring(), 'edu: a transfer');
  }
}
