/**
 * A driver of capture, a device that fills a ring in memory with frames (devices/capture/regs.ts).
 */
import { crc32 } from 'node:zlib';

import { FRAME_MAGIC, FrameHeader } from '../../../devices/capture/frame.ts';
import { CTRL_IRQ_ENABLE, CTRL_RESET, CTRL_RUN, REG } from '../../../devices/capture/regs.ts';
import { viewOf } from '../../../platform/struct.ts';
import type { Registers } from '../registers.ts';

export interface CaptureRing {
  /** A multiple of 64. */
  readonly iova: number;
  /** Slots: a power of two. */
  readonly frames: number;
  /** Bytes of each slot, a multiple of 64. */
  readonly frameSize: number;
  /** Frames per second; 0, the default: as fast as the device can. */
  readonly rate?: number;
  /** The device interrupts after so many frames; 0, the default: never. */
  readonly irqEvery?: number;
}

export class Capture {
  readonly #registers: Registers;

  constructor(registers: Registers) {
    this.#registers = registers;
  }

  /** Starts the device over, from frame 0 on. A new frame overwrites the oldest one. */
  start({ iova, frames, frameSize, rate = 0, irqEvery = 0 }: CaptureRing): void {
    const registers = this.#registers;
    this.stop();
    registers.write(REG.CTRL, CTRL_RESET);
    registers.write(REG.RING_LO, iova % 2 ** 32);
    registers.write(REG.RING_HI, Math.floor(iova / 2 ** 32));
    registers.write(REG.FRAMES, frames);
    registers.write(REG.FRAME_SIZE, frameSize);
    registers.write(REG.RATE, rate);
    registers.write(REG.IRQ_EVERY, irqEvery);
    registers.write(REG.CTRL, CTRL_RUN | CTRL_IRQ_ENABLE);
  }

  /** Stops the device. When this returns, the device writes nothing and sends nothing any more. */
  stop(): void {
    this.#registers.write(REG.CTRL, 0);
    this.#registers.read(REG.STATUS); // writes are posted: behind a read they have arrived
  }

  /** Frames that the device has written since it was started, mod 2^32. */
  writeIndex(): number {
    return this.#registers.read(REG.WRITE_INDEX);
  }

  /** Accesses to the ring that were refused since the device was started. */
  faults(): number {
    return this.#registers.read(REG.FAULTS);
  }

  /** Takes the device's interrupt back. */
  acknowledge(): void {
    this.#registers.write(REG.IRQ_STATUS, this.#registers.read(REG.IRQ_STATUS));
  }
}

export interface FrameFacts {
  /** Number of frames that came before this one since the start, mod 2^32. */
  readonly sequence: number;
  /** Whether magic, length and checksum are right. */
  readonly isWhole: boolean;
}

/** A frame as it lies in its slot. */
export function readFrame(frame: Uint8Array): FrameFacts {
  const view = viewOf(frame);
  const { offset, size } = FrameHeader;
  const hasHeader =
    view.getUint32(offset.magic, true) === FRAME_MAGIC && view.getUint32(offset.length, true) === frame.length;
  const crc = crc32(frame.subarray(size), crc32(frame.subarray(0, offset.crc)));
  const isWhole = hasHeader && crc === view.getUint32(offset.crc, true);
  return { sequence: view.getUint32(offset.sequence, true), isWhole };
}
