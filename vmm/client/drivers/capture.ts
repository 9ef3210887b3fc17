/** A driver of capture: a ring in memory that it fills with frames (devices/capture/regs.ts). */
import { crc32 } from 'node:zlib';

import { FRAME_MAGIC, HEADER_BYTES } from '../../../devices/capture/frame.ts';
import {
  CTRL_IRQ_ENABLE,
  CTRL_RESET,
  CTRL_RUN,
  REG_CTRL,
  REG_FAULTS,
  REG_FRAME_SIZE,
  REG_FRAMES,
  REG_IRQ_EVERY,
  REG_IRQ_STATUS,
  REG_RATE,
  REG_RING_HI,
  REG_RING_LO,
  REG_WRITE_INDEX,
} from '../../../devices/capture/regs.ts';
import { viewOf } from '../../../platform/struct.ts';
import type { Registers } from '../registers.ts';

/** frame.ts: CRC-32 over what is before it and what is behind the header. */
const CRC_AT = 0x18;

export interface CaptureRing {
  /** A multiple of 64. */
  readonly iova: number;
  /** Slots: a power of two. */
  readonly frames: number;
  /** Bytes of each, a multiple of 64. */
  readonly frameSize: number;
  /** Frames per second; 0, the default: as fast as it can. */
  readonly rate?: number;
  /** Interrupts after so many frames; 0, the default: never. */
  readonly irqEvery?: number;
}

export class Capture {
  readonly #registers: Registers;

  constructor(registers: Registers) {
    this.#registers = registers;
  }

  /** Starts over, from frame 0 on. The oldest frame makes room for a new one. */
  start({ iova, frames, frameSize, rate = 0, irqEvery = 0 }: CaptureRing): void {
    const registers = this.#registers;
    this.stop();
    registers.write(REG_CTRL, CTRL_RESET);
    registers.write(REG_RING_LO, iova % 2 ** 32);
    registers.write(REG_RING_HI, Math.floor(iova / 2 ** 32));
    registers.write(REG_FRAMES, frames);
    registers.write(REG_FRAME_SIZE, frameSize);
    registers.write(REG_RATE, rate);
    registers.write(REG_IRQ_EVERY, irqEvery);
    registers.write(REG_CTRL, CTRL_RUN | CTRL_IRQ_ENABLE);
  }

  /** When this returns it writes nothing any more, and sends nothing. */
  stop(): void {
    this.#registers.write(REG_CTRL, 0);
  }

  /** Frames written since it was started, mod 2^32. */
  writeIndex(): number {
    return this.#registers.read(REG_WRITE_INDEX);
  }

  /** Accesses to its ring that were refused since it was started. */
  faults(): number {
    return this.#registers.read(REG_FAULTS);
  }

  /** Takes back what it has interrupted for. */
  acknowledge(): void {
    this.#registers.write(REG_IRQ_STATUS, this.#registers.read(REG_IRQ_STATUS));
  }
}

export interface FrameFacts {
  /** Frames before it since the start, mod 2^32. */
  readonly sequence: number;
  /** Whether magic, length and checksum are right. */
  readonly isWhole: boolean;
}

/** A frame as it lies in its slot. */
export function readFrame(frame: Uint8Array): FrameFacts {
  const view = viewOf(frame);
  const hasHeader = view.getUint32(0, true) === FRAME_MAGIC && view.getUint32(4, true) === frame.length;
  const crc = crc32(frame.subarray(HEADER_BYTES), crc32(frame.subarray(0, CRC_AT)));
  return { sequence: view.getUint32(8, true), isWhole: hasHeader && crc === view.getUint32(CRC_AT, true) };
}
