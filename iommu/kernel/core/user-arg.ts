/**
 * The third argument of an ioctl: an unsigned long that may be a pointer. An argument of bytes is
 * the memory at the caller's pointer. A number is a value, or a pointer to nothing.
 */
import { efault, einval } from '../../../platform/errno.ts';
import { type Fields, type Struct, type StructValue, viewOf } from '../../../platform/struct.ts';

/** One more than the largest unsigned 64-bit number. */
export const U64_END = 1n << 64n;
const U64 = U64_END - 1n;

export class UserArg {
  /**
   * The contents of the caller's memory, as changed by copyOut. The bytes are the request's, and
   * nothing else uses them. Undefined for a number.
   */
  readonly #bytes: Uint8Array | undefined;
  #view: DataView | undefined;
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
    const { buffer, byteOffset } = this.#viewOf(offset, length);
    return new DataView(buffer.slice(byteOffset + offset, byteOffset + offset + length));
  }

  /** copy_from_user of a struct at `offset`. EFAULT if the caller gave fewer bytes. */
  // HOT: no copy; the contents are this kernel's own by now
  read<F extends Fields>(struct: Struct<F>, offset = 0): StructValue<F> {
    return struct.read(this.#viewOf(offset, struct.size), offset);
  }

  /** copy_to_user of a struct that was read at `offset`, with some fields changed. */
  update<F extends Fields>(struct: Struct<F>, changed: Partial<StructValue<F>>, offset = 0): void {
    struct.write(this.#viewOf(offset, struct.size), changed, offset);
    this.wrote(offset, struct.size);
  }

  #viewOf(offset: number, length: number): DataView {
    const bytes = this.#bytes;
    if (!bytes || offset + length > bytes.length)
      throw efault(`cannot read ${length} bytes at ${offset} of the argument`);
    this.#view ??= viewOf(bytes);
    return this.#view;
  }

  /** copy_to_user at `offset`. The part that fits is written; EFAULT if that is not all. */
  copyOut(offset: number, data: Uint8Array): void {
    const room = Math.max(0, (this.#bytes?.length ?? 0) - offset);
    const part = data.length <= room ? data : data.subarray(0, room);
    this.#bytes?.set(part, part.length === 0 ? 0 : offset);
    this.wrote(offset, part.length);
    if (part.length < data.length) throw efault(`cannot write ${data.length} bytes at ${offset} of the argument`);
  }

  /**
   * The place of copyOut's bytes, to be filled before wrote(offset, length): what the caller gets
   * is not copied once more. Undefined where copyOut would not write them all.
   */
  room(offset: number, length: number): Uint8Array | undefined {
    const bytes = this.#bytes;
    return bytes && offset + length <= bytes.length ? bytes.subarray(offset, offset + length) : undefined;
  }

  /** Bytes of room() are filled, and go back to the caller. */
  wrote(offset: number, length: number): void {
    if (length > 0) this.#written = Math.max(this.#written, offset + length);
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
