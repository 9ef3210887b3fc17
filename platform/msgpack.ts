/**
 * MessagePack as this project uses it: plain maps, no record structures that only one side knows.
 */
import { Packr } from 'msgpackr';

const packr = new Packr({ useRecords: false, mapsAsObjects: true });

export const pack = (value: unknown): Uint8Array => packr.pack(value);

/** The one value in `packed`. Throws for bytes that are no MessagePack. */
export const unpack = (packed: Uint8Array): unknown => packr.unpack(packed);

/** The meaning of a type byte from 0xc0 on. */
type Shape =
  /** A value of so many bytes. */
  | { readonly bytes: number }
  /** A length field of so many bytes, followed by as many bytes as it says. */
  | { readonly length: number }
  /** A count field of so many bytes, followed by `each` values for each one counted. */
  | { readonly count: number; readonly each: number };

/**
 * MessagePack specification, "Formats", from 0xc0 on. Undefined: extensions, and 0xc1, which is
 * never used.
 */
const SHAPES: readonly (Shape | undefined)[] = [
  { bytes: 0 }, // nil
  undefined,
  ...[{ bytes: 0 }, { bytes: 0 }], // false, true
  ...[{ length: 1 }, { length: 2 }, { length: 4 }], // bin
  ...[undefined, undefined, undefined],
  ...[{ bytes: 4 }, { bytes: 8 }], // float
  ...[{ bytes: 1 }, { bytes: 2 }, { bytes: 4 }, { bytes: 8 }], // uint
  ...[{ bytes: 1 }, { bytes: 2 }, { bytes: 4 }, { bytes: 8 }], // int
  ...[undefined, undefined, undefined, undefined, undefined],
  ...[{ length: 1 }, { length: 2 }, { length: 4 }], // str
  ...[
    { count: 2, each: 1 },
    { count: 4, each: 1 },
  ], // array
  ...[
    { count: 2, each: 2 },
    { count: 4, each: 2 },
  ], // map
];

/**
 * Whether `packed` has at most `maxValues` values and no extension. The keys and values of maps
 * count, too. Decoding such a message costs little more than its strings do; without this limit 1
 * MiB may take a second, and the memory of a million objects. False for a message that is cut off.
 */
export function isSmall(packed: Uint8Array, maxValues: number): boolean {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.length);
  let at = 0;
  let expected = 1;
  for (let seen = 0; expected > 0; seen++) {
    if (seen + expected > maxValues || at >= packed.length) return false;
    const type = packed[at++]!;
    expected--;
    if (type < 0x80 || type >= 0xe0) continue; // small integers
    if (type < 0x90)
      expected += (type & 15) * 2; // fixmap
    else if (type < 0xa0)
      expected += type & 15; // fixarray
    else if (type < 0xc0)
      at += type & 31; // fixstr
    else {
      const shape = SHAPES[type - 0xc0];
      if (!shape) return false;
      if ('bytes' in shape) at += shape.bytes;
      else {
        const size = 'length' in shape ? shape.length : shape.count;
        if (at + size > packed.length) return false;
        const number = readBigEndian(view, at, size);
        at += size;
        if ('length' in shape) at += number;
        else expected += number * shape.each;
      }
    }
  }
  return at <= packed.length;
}

function readBigEndian(view: DataView, at: number, size: number): number {
  if (size === 1) return view.getUint8(at);
  return size === 2 ? view.getUint16(at) : view.getUint32(at);
}
