/**
 * A range [start, end) of the board's physical address space: as the board describes it, and as one
 * thread has it attached. RAM is accessed directly. A range of another kind has a target that
 * answers (targets/).
 */
import { hex, hexRange } from '../../platform/hex.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import type { PeerRequester } from './peer-cycles.ts';
import { type BarRange, BarTarget } from './targets/bar.ts';
import { type DoorbellRange, DoorbellTarget } from './targets/doorbell.ts';
import { type ProcessRange, ProcessTarget } from './targets/process.ts';
import { REGISTER_ACCESS_BYTES, type RegistersRange, RegistersTarget } from './targets/registers.ts';
import type { Target } from './targets/target.ts';

/** Shared bytes: guest RAM, kernel RAM. */
export interface RamRange {
  readonly kind: 'ram';
  readonly start: number;
  readonly size: number;
  readonly buffer: SharedArrayBuffer;
  /** The board's fd of the object behind it, where clients may map that. */
  readonly fd?: number;
}

/**
 * A range that the thread itself answers for. It is no message: another thread has no such range.
 */
export interface LocalRange {
  readonly kind: 'local';
  readonly start: number;
  readonly size: number;
  readonly target: Target;
}

/** The most bytes that one transaction moves. */
const MAX_TRANSACTION = 65536;

export type PaRange = RamRange | BarRange | RegistersRange | ProcessRange | DoorbellRange | LocalRange;

function targetOf(range: Exclude<PaRange, RamRange>, requester: PeerRequester | undefined): Target {
  switch (range.kind) {
    case 'bar':
      return new BarTarget(range);
    case 'registers':
      return new RegistersTarget(range, requester);
    case 'process':
      return new ProcessTarget(range);
    case 'doorbell':
      return new DoorbellTarget(range);
    case 'local':
      return range.target;
  }
}

/** A range that is attached in this thread. The views are empty unless it is RAM. */
export class AttachedRange {
  readonly range: PaRange;
  readonly startPfn: number;
  readonly endPfn: number;
  readonly isRam: boolean;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly longs: BigInt64Array;
  /** Not 0 for registers: an access does not cross a multiple of this number. */
  readonly #accessBytes: number;
  /** Set unless the range is RAM. */
  readonly #target: Target | undefined;

  /** `requester`: the function of the bus whose thread this is. */
  constructor(range: PaRange, requester?: PeerRequester) {
    const { start, size } = range;
    if (start % PAGE_SIZE !== 0 || size % PAGE_SIZE !== 0 || size <= 0 || start + size > 2 ** 52) {
      throw new RangeError(`bad physical range ${hexRange(start, size)}`);
    }
    this.range = range;
    this.startPfn = start / PAGE_SIZE;
    this.endPfn = (start + size) / PAGE_SIZE;
    this.isRam = range.kind === 'ram';
    this.#accessBytes = range.kind === 'registers' ? REGISTER_ACCESS_BYTES : 0;
    const buffer = range.kind === 'ram' ? range.buffer : new SharedArrayBuffer(0);
    const { byteLength } = buffer;
    if (range.kind === 'ram' && byteLength < size) throw new RangeError(`buffer of ${hex(start)} is too short`);
    this.bytes = new Uint8Array(buffer);
    this.words = new Int32Array(buffer, 0, Math.floor(byteLength / 4));
    this.longs = new BigInt64Array(buffer, 0, Math.floor(byteLength / 8));
    this.#target = range.kind === 'ram' ? undefined : targetOf(range, requester);
  }

  /** The most bytes that one transaction from `offset` on moves. */
  // HOT
  room(offset: number): number {
    return this.#accessBytes === 0 ? MAX_TRANSACTION : this.#accessBytes - (offset % this.#accessBytes);
  }

  /**
   * Copies bytes at `at` out of the range; at + dst.length ≤ size. False when nothing answers now.
   */
  // HOT
  read(at: number, dst: Uint8Array): boolean {
    if (!this.isRam) return this.#target!.read(at, dst);
    dst.set(this.bytes.subarray(at, at + dst.length));
    return true;
  }

  /** Copies bytes into the range, as read. */
  // HOT
  write(at: number, src: Uint8Array): boolean {
    if (!this.isRam) return this.#target!.write(at, src);
    this.bytes.set(src, at);
    return true;
  }

  /** `at` is a multiple of 4; single-copy atomic in RAM. Undefined when nothing answers now. */
  read32(at: number): number | undefined {
    return this.isRam ? Atomics.load(this.words, at / 4) >>> 0 : this.#target!.read32(at);
  }

  /** As read32. False when nothing answers now. */
  write32(at: number, value: number): boolean {
    if (!this.isRam) return this.#target!.write32(at, value);
    Atomics.store(this.words, at / 4, value);
    return true;
  }
}
