/**
 * The third argument of an ioctl: an unsigned long that may be a pointer. An argument of bytes is
 * the memory at the caller's pointer. A number is a value, or a pointer to nothing.
 */
import { efault, einval } from '../../../platform/errno.ts';
import { viewOf } from '../../../platform/struct.ts';

/** One more than the largest unsigned 64-bit number. */
export const U64_END = 1n << 64n;
const U64 = U64_END - 1n;

export class UserArg {
  /**
   * The contents of the caller's memory, as changed by copyOut. The bytes are the request's, and
   * nothing else uses them. Undefined for a number.
   */
  readonly #bytes: Uint8Array | undefined;
  /** The argument by value: a full unsigned long (CORE-3). Undefined for a pointer to memory. */
  readonly value: bigint | undefined;
  /** Bytes written. [0, #written) is copied back to the caller; holes keep their old bytes. */
  #written = 0;

  constructor(arg: number | bigint | Uint8Array) {
    const isBytes = arg instanceof Uint8Array;
    this.#bytes = isBytes ? arg : undefined;
    this.value = isBytes ? undefined : BigInt(arg) & U64;
  }

  /**
   * The value as a number, for a call that expects a small one. It is −1 for a pointer to memory,
   * which is no small number.
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

  /** copy_to_user at `offset`. The part that fits is written; EFAULT if that is not all. */
  copyOut(offset: number, data: Uint8Array): void {
    const room = Math.max(0, (this.#bytes?.length ?? 0) - offset);
    const part = data.length <= room ? data : data.subarray(0, room);
    this.#bytes?.set(part, part.length === 0 ? 0 : offset);
    if (part.length > 0) this.#written = Math.max(this.#written, offset + part.length);
    if (part.length < data.length) throw efault(`cannot write ${data.length} bytes at ${offset} of the argument`);
  }

  /**
   * strndup_user: the C string at the pointer. EFAULT without a terminator, EINVAL if longer than
   * `max` (terminator included).
   */
  copyInString(max: number): string {
    const bytes = this.#bytes;
    if (!bytes) throw efault('string argument points to nothing');
    const end = bytes.indexOf(0);
    if (end < 0 && bytes.length < max) throw efault('string argument is not terminated');
    if (end < 0 || end >= max) throw einval(`string argument is longer than ${max - 1} bytes`);
    return Buffer.from(bytes.subarray(0, end)).toString('latin1');
  }

  /** The bytes that go back to the caller. Undefined when nothing was written. */
  output(): Uint8Array | undefined {
    return this.#written > 0 ? this.#bytes?.subarray(0, this.#written) : undefined;
  }
}
