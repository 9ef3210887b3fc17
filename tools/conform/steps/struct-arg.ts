/**
 * Struct arguments in the form of the recordings. Bytes that a step does not set are 0xee.
 * `avail=N` leaves only the first N bytes readable. An answer shows the struct from its first byte
 * to the last changed one.
 */
import { fromHex, toHex } from '../notation.ts';
import type { Step } from '../vector-file.ts';
import type { CallContext } from './call-context.ts';
import type { Words } from './words.ts';

const UNSET = 0xee;
/** Size of every struct buffer, which is more than any answer. */
const BUFFER_BYTES = 4096;

export interface StructLayout {
  readonly nr: number;
  /** Fields in C order: key of the step, bytes. */
  readonly fields: readonly (readonly [key: string, size: 4 | 8])[];
  /** Values of fields that the step does not give. */
  readonly defaults?: Readonly<Record<string, number>>;
  /** Number of bytes that an answer shows at least, if it shows any. */
  readonly least?: number;
}

/**
 * Makes an ioctl with a struct. SysErrors become part of the answer. `extra` gives values of fields
 * that are not numbers in the step.
 */
export async function structCall(
  { calls, words, step }: CallContext,
  layout: StructLayout,
  extra: Readonly<Record<string, bigint>> = {},
): Promise<string> {
  const bytes = structBytes(words, step, layout, extra);
  const { avail } = step.options;
  const arg = avail === undefined ? bytes : bytes.subarray(0, words.count(avail));
  const before = arg.slice();
  const status = await words.status(() => calls.ioctl(words.fd(step.args[0]!), layout.nr, arg));
  return `${status}${changeText(before, bytes, layout.least)}`;
}

/**
 * ` out=HEX`: `after` up to the last byte that differs from `before`, and at least `least` bytes;
 * empty when none differs.
 */
export function changeText(before: Uint8Array, after: Uint8Array, least = 0): string {
  let changed = before.length;
  while (changed > 0 && after[changed - 1] === before[changed - 1]) changed--;
  return changed === 0 ? '' : ` out=${toHex(after.subarray(0, Math.max(changed, least)))}`;
}

/** A struct in which nothing is set. */
export const unsetStruct = (): Uint8Array => new Uint8Array(BUFFER_BYTES).fill(UNSET);

function structBytes(
  words: Words,
  { options }: Step,
  { fields, defaults = {} }: StructLayout,
  extra: Readonly<Record<string, bigint>>,
): Uint8Array {
  const bytes = unsetStruct();
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [key, size] of fields) {
    const given = extra[key] ?? (options[key] === undefined ? undefined : words.number(options[key]));
    const value = given ?? (defaults[key] === undefined ? undefined : BigInt(defaults[key]));
    if (value !== undefined && size === 4) view.setUint32(at, Number(BigInt.asUintN(32, value)), true);
    else if (value !== undefined) view.setBigUint64(at, value, true);
    at += size;
  }
  bytes.set(payload(words, options), at);
  return bytes;
}

/** The bytes behind the fields: `data=` bytes, or `fds=`. */
function payload(words: Words, { data, fds }: Step['options']): Uint8Array {
  if (data !== undefined) return fromHex(data);
  if (fds === undefined) return new Uint8Array(0);
  return new Uint8Array(Int32Array.from(fds.split(','), (word) => words.fd(word)).buffer);
}
