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
