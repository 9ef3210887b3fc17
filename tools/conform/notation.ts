/** The notation of numbers and bytes in the vectors. */

const U64 = (1n << 64n) - 1n;

/**
 * The value of a sum of C literals and `$NAME`s, modulo 2^64. `symbol` gives the value of a name,
 * or undefined for an unknown name.
 */
export function evaluate(expression: string, symbol: (name: string) => number | undefined): bigint {
  let sum = 0n;
  for (const term of expression.split('+')) {
    if (term.startsWith('$')) {
      const value = symbol(term.slice(1));
      if (value === undefined) throw new RangeError(`${term} is not defined`);
      sum += BigInt(value);
    } else sum += term.startsWith('-') ? -BigInt(term.slice(1)) : BigInt(term);
  }
  return sum & U64;
}

/** The longest data that is written as plain hex, in bytes. */
const PLAIN_BYTES = 24;
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Bytes as plain hex, or as runs: `61*3840.00*256`. */
export function formatBytes(bytes: Uint8Array): string {
  if (bytes.length <= PLAIN_BYTES) return toHex(bytes);
  const runs: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    let end = at + 1;
    while (end < bytes.length && bytes[end] === bytes[at]) end++;
    runs.push(end - at === 1 ? HEX[bytes[at]!]! : `${HEX[bytes[at]!]}*${end - at}`);
    at = end;
  }
  return runs.join('.');
}

export const toHex = (bytes: Uint8Array): string => bytes.reduce((text, byte) => text + HEX[byte], '');

export function fromHex(text: string): Uint8Array {
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => Number.parseInt(text.slice(2 * i, 2 * i + 2), 16));
}
