/**
 * The values in a section's body, each with its path: `options.devices[0]`. A body comes from a
 * file, so its shape may be anything that MessagePack can say.
 */

/** A value that has no values in it; of lists and objects only the empty ones are left. */
export type Leaf = unknown;

export type Fields = ReadonlyMap<string, Leaf>;

/** All values in `body`, in its order, by path. */
export function fieldsOf(body: unknown): Fields {
  const fields = new Map<string, Leaf>();
  collect(body, '', fields);
  return fields;
}

function collect(value: unknown, path: string, fields: Map<string, Leaf>): void {
  const members = membersOf(value);
  if (members.length === 0) fields.set(path, value);
  for (const [step, member] of members) collect(member, path + (path === '' ? step.replace(/^\./, '') : step), fields);
}

/** The values directly in a list or an object, with the steps that lead to them. */
function membersOf(value: unknown): readonly (readonly [string, unknown])[] {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return [];
  if (Array.isArray(value)) return value.map((member, i) => [`[${i}]`, member]);
  return Object.entries(value).map(([key, member]) => [step(key), member]);
}

const step = (key: string): string => (/^[A-Za-z_]\w*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`);

/** From here on a whole number is shown in hexadecimal, too: it may be an address. */
const LARGE = 0x10000;
/** How many bytes of a byte string are shown. */
const BYTES_SHOWN = 32;

const MASK = (1n << 64n) - 1n;

/** A register or a counter of 64 bits; the negative ones as they stand in the register. */
const hexOf = (value: bigint): string => `0x${(value < 0n ? value & MASK : value).toString(16)}`;

const hexBytes = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** A value as people read it. */
export function leafText(value: Leaf): string {
  if (typeof value === 'bigint') return hexOf(value);
  if (typeof value === 'number') {
    return Number.isSafeInteger(value) && value >= LARGE ? `${value} (0x${value.toString(16)})` : String(value);
  }
  if (value instanceof Uint8Array) return bytesText(value);
  return JSON.stringify(value) ?? String(value);
}

function bytesText(bytes: Uint8Array): string {
  const shown = hexBytes(bytes.subarray(0, BYTES_SHOWN));
  return `${bytes.length} bytes${shown === '' ? '' : ` ${shown}`}${bytes.length > BYTES_SHOWN ? '…' : ''}`;
}

/** A value as JSON can say it: bigints and bytes become hexadecimal digits, `0x…` and `…`. */
export function jsonOf(value: unknown): unknown {
  if (typeof value === 'bigint') return hexOf(value);
  if (value instanceof Uint8Array) return hexBytes(value);
  if (Array.isArray(value)) return value.map(jsonOf);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, jsonOf(member)]));
}

/**
 * Whether two values are the same. MessagePack makes a number of a small bigint, so 5 and 5n are.
 */
export function sameLeaf(a: Leaf, b: Leaf): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  if (typeof a === 'bigint' || typeof b === 'bigint') return wholeOf(a) !== undefined && wholeOf(a) === wholeOf(b);
  return JSON.stringify(jsonOf(a)) === JSON.stringify(jsonOf(b)) && a instanceof Uint8Array === b instanceof Uint8Array;
}

function wholeOf(value: Leaf): bigint | undefined {
  if (typeof value === 'bigint') return value;
  return typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : undefined;
}
