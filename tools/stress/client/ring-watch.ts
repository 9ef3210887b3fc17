/**
 * capture as an actor drives it: a ring somewhere in iova space that the device fills for ever, and
 * what must be in it.
 */
import { Capture, type CaptureRing, readFrame } from '../../../vmm/client/drivers/capture.ts';
import { Violation } from '../invariants.ts';
import type { DeviceFile } from './device-file.ts';

export type RingPlan = Required<CaptureRing>;

export interface RingWatchState {
  readonly ring: RingPlan | undefined;
  readonly clean: boolean;
  readonly intactFrom: number;
}

export class RingWatch {
  readonly file: DeviceFile;
  readonly #capture: Capture;
  #ring: RingPlan | undefined;
  /** Nothing of its ring was ever unmapped since it started: no access may be refused. */
  #clean = false;
  /** Frames before this one may have been overwritten by somebody else. */
  #intactFrom = 0;

  constructor(file: DeviceFile, state?: RingWatchState) {
    this.file = file;
    this.#capture = new Capture(file.registers);
    this.#ring = state?.ring;
    this.#clean = state?.clean ?? false;
    this.#intactFrom = state?.intactFrom ?? 0;
  }

  save(): RingWatchState {
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
    this.#capture.start(ring);
    this.#ring = ring;
    this.#clean = clean;
    this.#intactFrom = 0;
  }

  /** When this returns it writes nothing any more, and sends nothing. */
  stop(): void {
    this.#capture.stop();
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
   * Somebody else has written into its ring, and is done. However slow the device's thread is: what
   * it has written by now, and the frame that it may be in the middle of, are not what it made of
   * them; those that it has yet to begin are.
   */
  overwritten(): void {
    this.#intactFrom = this.writeIndex() + 1;
  }

  /** Whether frame `index` was written after whatever else was written into the ring. */
  isIntact(index: number): boolean {
    return index >= this.#intactFrom;
  }

  acknowledge(): void {
    this.#capture.acknowledge();
  }

  /** Frames written since it was started. */
  writeIndex(): number {
    return this.#capture.writeIndex();
  }

  /** Whether it touches iova bytes [start, end). */
  touches(start: number, end: number): boolean {
    const ring = this.#ring;
    return ring !== undefined && ring.iova < end && ring.iova + ring.frames * ring.frameSize > start;
  }

  /** Invariant 2 for a clean ring: no access was refused. */
  checkFaults(): void {
    const faults = this.#capture.faults();
    if (faults > 0) throw new Violation('2', `${this.file.name}: ${faults} accesses to a mapped ring were refused`);
  }
}

/** Frame `index` of a clean ring as it must be: whole, and the one of that number (invariant 2). */
export function checkFrame(name: string, frame: Uint8Array, index: number): void {
  const { sequence, isWhole } = readFrame(frame);
  if (sequence !== index) throw new Violation('2', `${name}: frame ${index} is not where it belongs, but ${sequence}`);
  if (!isWhole) throw new Violation('2', `${name}: frame ${index} is not whole`);
}
