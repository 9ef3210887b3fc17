/** Properties of a device as given on the command line (`edu,dma-mask=0xffffffff`): declared with the device, checked in one place. */
import { einval } from '../../platform/errno.ts';

export interface Property<T> {
  readonly default: T;
  /** What `parse` accepts, for the error line. */
  readonly expected: string;
  /** The value, or undefined for a text that is none. */
  parse(text: string): T | undefined;
}

export type PropertyTable = Readonly<Record<string, Property<unknown>>>;
export type PropertyValues<T extends PropertyTable> = { readonly [K in keyof T]: T[K]['default'] };

/** Values of all properties. EINVAL, naming device and property, for an unknown name or a text that does not parse. */
export function parseProperties<const T extends PropertyTable>(
  device: string,
  table: T,
  given: Readonly<Record<string, string>>,
): PropertyValues<T> {
  const values: Record<string, unknown> = {};
  for (const [name, property] of Object.entries(table)) values[name] = property.default;
  for (const [name, text] of Object.entries(given)) {
    const property = Object.hasOwn(table, name) ? table[name] : undefined;
    if (!property) throw einval(`${device}: unknown property '${name}'${known(table)}`);
    const value = property.parse(text);
    if (value === undefined) throw einval(`${device}: ${name}=${text}: expected ${property.expected}`);
    values[name] = value;
  }
  return values as PropertyValues<T>;
}

function known(table: PropertyTable): string {
  const names = Object.keys(table);
  return names.length === 0 ? ' (it has none)' : ` (known: ${names.join(', ')})`;
}

/** A number of milliseconds, fractions allowed, up to one hour. */
export function milliseconds(byDefault: number): Property<number> {
  return {
    default: byDefault,
    expected: 'milliseconds from 0 to 3600000',
    parse(text) {
      const value = Number(text);
      return /^\d+(\.\d+)?$/.test(text) && value <= 3_600_000 ? value : undefined;
    },
  };
}

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** A size in bytes that a memory BAR can have: a power of two of whole pages, as `65536`, `64K` or `1M`. `zero` allows 0 as well. */
export function barSize(byDefault: number, zero: 'zero' | 'no zero'): Property<number> {
  return {
    default: byDefault,
    expected: 'a power of two from 4K to 512M',
    parse(text) {
      const [, digits, unit] = /^(\d{1,9})([kmg]?)$/i.exec(text) ?? [];
      if (digits === undefined) return undefined;
      const size = Number(digits) * UNITS[unit!.toLowerCase()]!;
      if (size === 0 && zero === 'zero') return 0;
      return size >= 4096 && size <= 2 ** 29 && 2 ** Math.round(Math.log2(size)) === size ? size : undefined;
    },
  };
}

/** `on` or `off`. */
export function onOff(byDefault: boolean): Property<boolean> {
  return {
    default: byDefault,
    expected: 'on or off',
    parse: (text) => (text === 'on' ? true : text === 'off' ? false : undefined),
  };
}

/** One of some words. */
export function choice(byDefault: string, words: readonly string[]): Property<string> {
  return {
    default: byDefault,
    expected: words.join(' or '),
    parse: (text) => words.find((word) => word === text),
  };
}

/** A whole number from `from` to `to`, both included. */
export function integer(
  byDefault: number,
  { from, to }: { readonly from: number; readonly to: number },
): Property<number> {
  return {
    default: byDefault,
    expected: `a number from ${from} to ${to}`,
    parse: (text) => (/^\d{1,15}$/.test(text) && Number(text) >= from && Number(text) <= to ? Number(text) : undefined),
  };
}

/** An unsigned 64-bit number, decimal or 0x… */
export function unsigned64(byDefault: bigint): Property<bigint> {
  return {
    default: byDefault,
    expected: 'an unsigned 64-bit number',
    parse(text) {
      if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) return undefined;
      const value = BigInt(text);
      return value < 1n << 64n ? value : undefined;
    },
  };
}
