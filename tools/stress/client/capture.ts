/**
 * capture as an actor drives it: a ring somewhere in iova space that the device fills for ever.
 */
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
import { Violation } from '../invariants.ts';
import type { DeviceFile } from './device-file.ts';

/** frame.ts: CRC-32 over what is before it and what is behind the header. */
const CRC_AT = 0x18;

export interface RingPlan {
  readonly iova: number;
  readonly frames: number;
  readonly frameSize: number;
  /** Frames per second; 0: as fast as it can. */
  readonly rate: number;
  readonly irqEvery: number;
}

export interface CaptureState {
  readonly ring: RingPlan | undefined;
  readonly clean: boolean;
  readonly intactFrom: number;
}

export class Capture {
  readonly file: DeviceFile;
  #ring: RingPlan | undefined;
  /** Nothing of its ring was ever unmapped since it started: no access may be refused. */
  #clean = false;
  /** Frames before this one may have been overwritten by somebody else. */
  #intactFrom = 0;

  constructor(file: DeviceFile, state?: CaptureState) {
    this.file = file;
    this.#ring = state?.ring;
    this.#clean = state?.clean ?? false;
    this.#intactFrom = state?.intactFrom ?? 0;
  }

  save(): CaptureState {
    return { ring: this.#ring, clean: this.#clean, intactFrom: this.#intactFrom };
  }

  /** What it fills, while it runs. */
  get ring(): RingPlan | undefined {
    return this.#ring;
  }

  get clean(): boolean {
    return this.#clean;
  }

  /** Starts over. `clean`: all of the ring is mapped for writing. */
  start(ring: RingPlan, clean: boolean): void {
    const { file } = this;
    this.stop();
    file.writeRegister(REG_CTRL, CTRL_RESET);
    file.writeRegister(REG_RING_LO, ring.iova % 2 ** 32);
    file.writeRegister(REG_RING_HI, Math.floor(ring.iova / 2 ** 32));
    file.writeRegister(REG_FRAMES, ring.frames);
    file.writeRegister(REG_FRAME_SIZE, ring.frameSize);
    file.writeRegister(REG_RATE, ring.rate);
    file.writeRegister(REG_IRQ_EVERY, ring.irqEvery);
    file.writeRegister(REG_CTRL, CTRL_RUN | CTRL_IRQ_ENABLE);
    this.#ring = ring;
    this.#clean = clean;
    this.#intactFrom = 0;
  }

  /** When this returns it writes nothing any more, and sends nothing. */
  stop(): void {
    this.file.writeRegister(REG_CTRL, 0);
    this.#ring = undefined;
  }

  /** It was closed, or never started. */
  forget(): void {
    this.#ring = undefined;
  }

  /** Part of its ring is not mapped for writing any more. */
  spoil(): void {
    this.#clean = false;
  }

  /**
   * Somebody else has written into its ring, and is done. However slow the device's thread is: what it has written by now, and the
   * frame that it may be in the middle of, are not what it made of them; those that it has yet to begin are.
   */
  overwritten(): void {
    this.#intactFrom = this.writeIndex() + 1;
  }

  /** Whether frame `index` was written after whatever else was written into the ring. */
  isIntact(index: number): boolean {
    return index >= this.#intactFrom;
  }

  acknowledge(): void {
    this.file.writeRegister(REG_IRQ_STATUS, this.file.readRegister(REG_IRQ_STATUS));
  }

  /** Frames written since it was started. */
  writeIndex(): number {
    return this.file.readRegister(REG_WRITE_INDEX);
  }

  /** Whether it touches iova bytes [start, end). */
  touches(start: number, end: number): boolean {
    const ring = this.#ring;
    return ring !== undefined && ring.iova < end && ring.iova + ring.frames * ring.frameSize > start;
  }

  /** Invariant 2 for a clean ring: no access was refused. */
  checkFaults(): void {
    const faults = this.file.readRegister(REG_FAULTS);
    if (faults > 0) throw new Violation('2', `${this.file.name}: ${faults} accesses to a mapped ring were refused`);
  }
}

/** Frame `index` of a clean ring as it must be: whole, and the one of that number (invariant 2). */
export function checkFrame(name: string, frame: Uint8Array, index: number): void {
  const view = viewOf(frame);
  const magic = view.getUint32(0, true);
  const sequence = view.getUint32(8, true);
  if (magic !== FRAME_MAGIC || view.getUint32(4, true) !== frame.length || sequence !== index) {
    const found = `magic 0x${magic.toString(16)}, sequence ${sequence}`;
    throw new Violation('2', `${name}: frame ${index} is not where it belongs: ${found}`);
  }
  const crc = crc32(frame.subarray(HEADER_BYTES), crc32(frame.subarray(0, CRC_AT)));
  if (crc !== view.getUint32(CRC_AT, true)) throw new Violation('2', `${name}: frame ${index} has a wrong checksum`);
}
