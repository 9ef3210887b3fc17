/**
 * capture as an actor drives it: a ring somewhere in iova space that the device fills for ever, and
 * the checks of the ring's content.
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
  /** Whether the whole ring has been mapped since it was started. No access may be refused then. */
  #clean = false;
  /** Number of the first frame that nobody else can have overwritten. */
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

  /** The ring that the device fills; undefined while it is stopped. */
  get ring(): RingPlan | undefined {
    return this.#ring;
  }

  get clean(): boolean {
    return this.#clean;
  }

  /** Starts the device anew. `clean`: all of the ring is mapped for writing. */
  start(ring: RingPlan, clean: boolean): void {
    this.#capture.start(ring);
    this.#ring = ring;
    this.#clean = clean;
    this.#intactFrom = 0;
  }

  /** Stops the device. After the return it writes nothing and sends nothing. */
  stop(): void {
    this.#capture.stop();
    this.#ring = undefined;
  }

  /** Takes note that the device was closed or never started. */
  forget(): void {
    this.#ring = undefined;
  }

  /** Takes note that part of the ring is no longer mapped for writing. */
  spoil(): void {
    this.#clean = false;
  }

  /**
   * Takes note that somebody else has written into the ring and has finished. The frames that the
   * device has written by now may be spoiled, and so may the frame that it is writing. Every later
   * frame is intact, however slow the device's thread is.
   */
  overwritten(): void {
    this.#intactFrom = this.writeIndex() + 1;
  }

  /** Whether frame `index` was written after all foreign writes into the ring. */
  isIntact(index: number): boolean {
    return index >= this.#intactFrom;
  }

  acknowledge(): void {
    this.#capture.acknowledge();
  }

  /** Number of frames written since the start. */
  writeIndex(): number {
    return this.#capture.writeIndex();
  }

  /** Whether the ring touches iova bytes [start, end). */
  touches(start: number, end: number): boolean {
    const ring = this.#ring;
    return ring !== undefined && ring.iova < end && ring.iova + ring.frames * ring.frameSize > start;
  }

  /** Checks invariant 2 for a clean ring: no access was refused. */
  checkFaults(): void {
    const faults = this.#capture.faults();
    if (faults > 0) throw new Violation('2', `${this.file.name}: ${faults} accesses to a mapped ring were refused`);
  }
}

/** Checks frame `index` of a clean ring: it is whole and has the right number (invariant 2). */
export function checkFrame(name: string, frame: Uint8Array, index: number): void {
  const { sequence, isWhole } = readFrame(frame);
  if (sequence !== index) throw new Violation('2', `${name}: frame ${index} is not where it belongs, but ${sequence}`);
  if (!isWhole) throw new Violation('2', `${name}: frame ${index} is not whole`);
}
