/**
 * Properties of a device, as given on the command line (`edu,dma-mask=0xffffffff`). They are
 * declared with the device and checked here.
 */
import { einval } from '../../platform/errno.ts';
import { hex } from '../../platform/hex.ts';

export interface Property<T> {
  readonly default: T;
  /** The default, as it would be written on the command line. */
  readonly defaultText: string;
  /** One line for `--device NAME,help`. */
  readonly what: string;
  /** The values that `parse` accepts, for the error line. */
  readonly expected: string;
  /** The value of a text, or undefined for a bad text. */
  parse(text: string): T | undefined;
}

export type PropertyTable = Readonly<Record<string, Property<unknown>>>;
export type PropertyValues<T extends PropertyTable> = { readonly [K in keyof T]: T[K]['default'] };

/**
 * Values of all properties. EINVAL, naming device and property, for an unknown name or a text that
 * does not parse.
 */
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
export function milliseconds(byDefault: number, what: string): Property<number> {
  return {
    default: byDefault,
    defaultText: String(byDefault),
    what,
    expected: 'milliseconds from 0 to 3600000',
    parse(text) {
      const value = Number(text);
      return /^\d+(\.\d+)?$/.test(text) && value <= 3_600_000 ? value : undefined;
    },
  };
}

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** A size in the largest unit of which it is a whole number, such as `4K`; 0 without a unit. */
export function sizeText(bytes: number): string {
  const fitting = Object.entries(UNITS).filter(([, unit]) => bytes > 0 && bytes % unit === 0);
  const [name = '', unit = 1] = fitting.at(-1) ?? [];
  return `${bytes / unit}${name.toUpperCase()}`;
}

/**
 * A size in bytes that a memory BAR can have: a power of two of whole pages, as `65536`, `64K` or
 * `1M`. `zero` allows 0 as well.
 */
export function barSize(byDefault: number, zero: 'zero' | 'no zero', what: string): Property<number> {
  return {
    default: byDefault,
    defaultText: sizeText(byDefault),
    what,
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
export function onOff(byDefault: boolean, what: string): Property<boolean> {
  return {
    default: byDefault,
    defaultText: byDefault ? 'on' : 'off',
    what,
    expected: 'on or off',
    parse: (text) => (text === 'on' ? true : text === 'off' ? false : undefined),
  };
}

/** A name that the user chooses; undefined if he gives none. */
export function name(what: string): Property<string | undefined> {
  return {
    default: undefined,
    defaultText: 'none',
    what,
    expected: 'letters, digits and dashes',
    parse: (text) => (/^[\w-]{1,32}$/.test(text) ? text : undefined),
  };
}

/** The path of a file; undefined if the user gives none. */
export function path(what: string): Property<string | undefined> {
  return {
    default: undefined,
    defaultText: 'none',
    what,
    expected: 'the path of a file',
    parse: (text) => (text === '' || text.includes('\0') ? undefined : text),
  };
}

/** One of some words. */
export function choice<T extends string>(byDefault: NoInfer<T>, words: readonly T[], what: string): Property<T> {
  return {
    default: byDefault,
    defaultText: byDefault,
    what,
    expected: words.join(' or '),
    parse: (text) => words.find((word) => word === text),
  };
}

/** A whole number from `from` to `to`, both included. */
export function integer(
  byDefault: number,
  { from, to }: { readonly from: number; readonly to: number },
  what: string,
): Property<number> {
  return {
    default: byDefault,
    defaultText: String(byDefault),
    what,
    expected: `a number from ${from} to ${to}`,
    parse: (text) => (/^\d{1,15}$/.test(text) && Number(text) >= from && Number(text) <= to ? Number(text) : undefined),
  };
}

/** An unsigned 64-bit number, decimal or 0x… */
export function unsigned64(byDefault: bigint, what: string): Property<bigint> {
  return {
    default: byDefault,
    defaultText: hex(byDefault),
    what,
    expected: 'an unsigned 64-bit number',
    parse(text) {
      if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) return undefined;
      const value = BigInt(text);
      return value < 1n << 64n ? value : undefined;
    },
  };
}
