/**
 * The third argument of an ioctl: an unsigned long that may be a pointer. Bytes are what the
 * caller's pointer reaches; a number is a value, or a pointer to nothing.
 */
import { efault, einval } from '../../../platform/errno.ts';
import { viewOf } from '../../../platform/struct.ts';

/** One more than an unsigned 64-bit number can be. */
export const U64_END = 1n << 64n;
const U64 = U64_END - 1n;

export class UserArg {
  /**
   * What the caller's memory holds, as changed by copyOut: bytes of the request, which is nobody
   * else's. Undefined for a number.
   */
  readonly #bytes: Uint8Array | undefined;
  /** The argument by value: a full unsigned long (CORE-3). Undefined for a pointer to memory. */
  readonly value: bigint | undefined;
  /** Bytes written: [0, #written) is copied back to the caller, holes with what they had. */
  #written = 0;

  constructor(arg: number | bigint | Uint8Array) {
    const isBytes = arg instanceof Uint8Array;
    this.#bytes = isBytes ? arg : undefined;
    this.value = isBytes ? undefined : BigInt(arg) & U64;
  }

  /**
   * The value as a number, for one that small numbers are meant by; −1 for a pointer to memory,
   * which means none of them.
   */
  get number(): number {
    return Number(this.value ?? -1);
  }

  /**
   * copy_from_user of `length` bytes at `offset`: a private copy. EFAULT if the caller gave fewer.
   */
  copyIn(length: number, offset = 0): DataView {
    const bytes = this.#bytes;
    if (!bytes || offset + length > bytes.length)
      throw efault(`cannot read ${length} bytes at ${offset} of the argument`);
    // a Buffer's own slice would not copy
    return viewOf(Uint8Array.prototype.slice.call(bytes, offset, offset + length));
  }

  /** copy_to_user at `offset`: what fits is written; EFAULT if not all of it did. */
  copyOut(offset: number, data: Uint8Array): void {
    const room = Math.max(0, (this.#bytes?.length ?? 0) - offset);
    const part = data.length <= room ? data : data.subarray(0, room);
    this.#bytes?.set(part, part.length === 0 ? 0 : offset);
    if (part.length > 0) this.#written = Math.max(this.#written, offset + part.length);
    if (part.length < data.length) throw efault(`cannot write ${data.length} bytes at ${offset} of the argument`);
  }

  /**
   * strndup_user: the C string at the pointer. EFAULT without its end, EINVAL if longer than `max`
   * (its end included).
   */
  copyInString(max: number): string {
    const bytes = this.#bytes;
    if (!bytes) throw efault('string argument points to nothing');
    const end = bytes.indexOf(0);
    if (end < 0 && bytes.length < max) throw efault('string argument is not terminated');
    if (end < 0 || end >= max) throw einval(`string argument is longer than ${max - 1} bytes`);
    return Buffer.from(bytes.subarray(0, end)).toString('latin1');
  }

  /** What goes back to the caller; undefined when nothing was written. */
  output(): Uint8Array | undefined {
    return this.#written > 0 ? this.#bytes?.subarray(0, this.#written) : undefined;
  }
}
