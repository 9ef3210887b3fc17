/**
 * Typed layouts of shared memory. The declaration says which thread writes a word and what
 * publishes it. It also gives the index that code uses, so that no bare number indexes a shared
 * array elsewhere. All words are little endian and naturally aligned.
 */

export interface SharedField {
  readonly kind: 'word32' | 'word64' | 'bytes';
  readonly size: number;
}

/** A 32-bit word reached with Atomics on an Int32Array: `Atomics.load(i32, base + L.word.name)`. */
export const atomic32: SharedField = { kind: 'word32', size: 4 };
/** A 64-bit slot: a float64 counter (plain, one writer) or a BigInt64 atomic; 8-byte aligned. */
export const word64: SharedField = { kind: 'word64', size: 8 };
/** Room or padding; pad so that two writers never share a 64-byte cache line. */
export const bytes = (size: number): SharedField => ({ kind: 'bytes', size });
/** `count` consecutive 32-bit words; the index of the first one. */
export const atomic32s = (count: number): SharedField => ({ kind: 'word32', size: 4 * count });

type SharedFields = Readonly<Record<string, SharedField>>;

export interface SharedLayout<F extends SharedFields> {
  readonly name: string;
  /** Bytes, rounded up to a cache line. */
  readonly size: number;
  /** Byte offset of each field. */
  readonly offset: { readonly [K in keyof F]: number };
  /** Index of each field in an Int32Array over the layout's first byte. */
  readonly word: { readonly [K in keyof F]: number };
  /** Index of each field in a Float64Array or BigInt64Array (only meaningful for word64 fields). */
  readonly word64: { readonly [K in keyof F]: number };
}

export function defineShared<const F extends SharedFields>(name: string, fields: F): SharedLayout<F> {
  const offset: Record<string, number> = {};
  const word: Record<string, number> = {};
  const long: Record<string, number> = {};
  let end = 0;
  for (const [key, field] of Object.entries(fields)) {
    const align = field.kind === 'word64' ? 8 : 4;
    if (end % align !== 0) throw new Error(`${name}.${key}: offset ${end} is not a multiple of ${align}; pad it`);
    offset[key] = end;
    word[key] = end / 4;
    long[key] = end / 8;
    end += field.size;
  }
  const size = Math.ceil(end / 64) * 64;
  type Index = { readonly [K in keyof F]: number };
  return { name, size, offset: offset as Index, word: word as Index, word64: long as Index };
}

/** Bytes [offset, offset + size) of a shared buffer. Messages between threads may carry it. */
export interface SharedPart {
  readonly buffer: SharedArrayBuffer;
  readonly offset: number;
  readonly size: number;
}

/** The whole of a buffer. */
export const wholeOf = (buffer: SharedArrayBuffer): SharedPart => ({ buffer, offset: 0, size: buffer.byteLength });

/** A part that has a new buffer for itself. */
export const newPart = (size: number): SharedPart => wholeOf(new SharedArrayBuffer(size));

/** Bytes [at, at + size) of a part; to its end if no size is given. */
export function within(part: SharedPart, at: number, size = part.size - at): SharedPart {
  if (at < 0 || size < 0 || at + size > part.size) throw new RangeError(`[${at}, ${at + size}) of ${part.size} bytes`);
  return { buffer: part.buffer, offset: part.offset + at, size };
}

/** Views over a part: indexes count from its first byte. */
export const int32s = ({ buffer, offset, size }: SharedPart): Int32Array => new Int32Array(buffer, offset, size / 4);
export const float64s = ({ buffer, offset, size }: SharedPart): Float64Array =>
  new Float64Array(buffer, offset, size / 8);
export const bigUint64s = ({ buffer, offset, size }: SharedPart): BigUint64Array =>
  new BigUint64Array(buffer, offset, size / 8);
export const uint8s = ({ buffer, offset, size }: SharedPart): Uint8Array => new Uint8Array(buffer, offset, size);
