/**
 * A BAR of registers, at its address on the bus. A transfer is cut as QEMU's memory core cuts it:
 * into pieces of 1, 2, 4 or 8 bytes, each at a multiple of its size. Each piece is one access, to
 * which the device applies its own rules (devices/kit/bar-access.ts).
 */
import type { Halves } from '../../../platform/mailbox.ts';
import { BarGate } from '../bar-gate.ts';
import type { PeerBar, PeerRequester } from '../peer-cycles.ts';
import type { Target } from './target.ts';

/** The most that one access moves. */
export const REGISTER_ACCESS_BYTES = 8;

export interface RegistersRange extends PeerBar {
  readonly kind: 'registers';
  readonly start: number;
  /** Whole pages. Behind the BAR's own end nothing answers. */
  readonly size: number;
  readonly gate: SharedArrayBuffer;
}

/** Accesses while its function does not answer are Unsupported Requests. */
export class RegistersTarget implements Target {
  readonly #bar: PeerBar;
  readonly #gate: BarGate;
  readonly #requester: PeerRequester | undefined;

  /** Without a requester nothing answers: the thread is no function of the bus. */
  constructor(range: RegistersRange, requester: PeerRequester | undefined) {
    this.#bar = range;
    this.#gate = new BarGate(range.gate);
    this.#requester = requester;
  }

  read(at: number, dst: Uint8Array): boolean {
    const view = new DataView(dst.buffer, dst.byteOffset, dst.length);
    for (let done = 0; done < dst.length; ) {
      const size = pieceSize(at + done, dst.length - done);
      const value = this.#read(at + done, size);
      if (!value) return false;
      if (size === 1) view.setUint8(done, value.lo);
      else if (size === 2) view.setUint16(done, value.lo, true);
      else view.setUint32(done, value.lo, true);
      if (size === 8) view.setUint32(done + 4, value.hi, true);
      done += size;
    }
    return true;
  }

  write(at: number, src: Uint8Array): boolean {
    const view = new DataView(src.buffer, src.byteOffset, src.length);
    for (let done = 0; done < src.length; ) {
      const size = pieceSize(at + done, src.length - done);
      const lo =
        size === 1 ? view.getUint8(done) : size === 2 ? view.getUint16(done, true) : view.getUint32(done, true);
      const hi = size === 8 ? view.getUint32(done + 4, true) : 0;
      if (!this.#write(at + done, size, { lo, hi })) return false;
      done += size;
    }
    return true;
  }

  read32(at: number): number | undefined {
    return this.#read(at, 4)?.lo;
  }

  write32(at: number, value: number): boolean {
    return this.#write(at, 4, { lo: value >>> 0, hi: 0 });
  }

  #read(at: number, size: number): Halves | undefined {
    return this.#gate.open() ? this.#requester?.read(this.#bar, at, size) : undefined;
  }

  #write(at: number, size: number, value: Halves): boolean {
    return this.#gate.open() && this.#requester?.write(this.#bar, at, size, value) === true;
  }
}

/** The largest power of two, at most 8, that fits in `length` and divides `at`. */
function pieceSize(at: number, length: number): 1 | 2 | 4 | 8 {
  if (at % 8 === 0 && length >= 8) return 8;
  if (at % 4 === 0 && length >= 4) return 4;
  return at % 2 === 0 && length >= 2 ? 2 : 1;
}
