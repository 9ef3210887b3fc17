/** MessagePack to values, from anybody: whatever the bytes are, it ends in time and throws nothing but RangeError. */
import { SHORT_STRING, TYPE } from './format.ts';

/** Nesting that no message of ours comes near; what goes deeper is refused before it costs stack. */
const MAX_DEPTH = 64;

/** The one value in `packed`; byte strings are views of it. RangeError for anything else. */
export function unpack(packed: Uint8Array): unknown {
  const reader = new Reader(packed);
  const value = reader.value(0);
  reader.end();
  return value;
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(packed: Uint8Array) {
    this.#bytes = packed;
    this.#view = new DataView(packed.buffer, packed.byteOffset, packed.length);
  }

  end(): void {
    if (this.#at < this.#bytes.length) throw new RangeError('more than one value');
  }

  value(depth: number): unknown {
    const type = this.#view.getUint8(this.#at++);
    if (type < TYPE.fixmap) return type;
    if (type < TYPE.fixarray) return this.#map(type & 0xf, depth);
    if (type < TYPE.fixstr) return this.#array(type & 0xf, depth);
    if (type < TYPE.nil) return this.#string(type & 0x1f);
    if (type >= TYPE.negativeFixint) return type - 0x100;
    return this.#longValue(type, depth);
  }

  #longValue(type: number, depth: number): unknown {
    switch (type) {
      case TYPE.nil:
        return null;
      case TYPE.false:
      case TYPE.true:
        return type === TYPE.true;
      case TYPE.bin8:
      case TYPE.bin8 + 1:
      case TYPE.bin8 + 2:
        return this.#binary(this.#uint(type - TYPE.bin8));
      case TYPE.float32:
        return this.#view.getFloat32(this.#skip(4));
      case TYPE.float64:
        return this.#view.getFloat64(this.#skip(8));
      case TYPE.uint8:
      case TYPE.uint8 + 1:
      case TYPE.uint8 + 2:
        return this.#uint(type - TYPE.uint8);
      case TYPE.uint64:
        return this.#view.getBigUint64(this.#skip(8));
      case TYPE.int8:
        return this.#view.getInt8(this.#skip(1));
      case TYPE.int8 + 1:
        return this.#view.getInt16(this.#skip(2));
      case TYPE.int32:
        return this.#view.getInt32(this.#skip(4));
      case TYPE.int64:
        return this.#view.getBigInt64(this.#skip(8));
      case TYPE.str8:
      case TYPE.str8 + 1:
      case TYPE.str8 + 2:
        return this.#string(this.#uint(type - TYPE.str8));
      case TYPE.array16:
      case TYPE.array16 + 1:
        return this.#array(this.#uint(1 + type - TYPE.array16), depth);
      case TYPE.map16:
      case TYPE.map16 + 1:
        return this.#map(this.#uint(1 + type - TYPE.map16), depth);
      default:
        throw new RangeError(`type 0x${type.toString(16)}`); // extensions, and what is never used
    }
  }

  /** Of 1, 2 or 4 bytes. */
  #uint(log2: number): number {
    const at = this.#skip(1 << log2);
    if (log2 === 0) return this.#view.getUint8(at);
    return log2 === 1 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }

  #string(length: number): string {
    const at = this.#skip(length);
    if (length > SHORT_STRING) return this.#text(at);
    let text = '';
    for (let i = at; i < this.#at; i++) {
      const byte = this.#bytes[i]!;
      if (byte >= 0x80) return this.#text(at);
      text += String.fromCharCode(byte);
    }
    return text;
  }

  #text(at: number): string {
    const { buffer, byteOffset } = this.#bytes;
    return Buffer.from(buffer, byteOffset + at, this.#at - at).toString();
  }

  #binary(length: number): Uint8Array {
    const at = this.#skip(length);
    return this.#bytes.subarray(at, this.#at);
  }

  #array(count: number, depth: number): unknown[] {
    this.#enter(depth);
    const items: unknown[] = [];
    for (let left = count; left > 0; left--) items.push(this.value(depth + 1));
    return items;
  }

  #map(count: number, depth: number): Record<string, unknown> {
    this.#enter(depth);
    const members: Record<string, unknown> = {};
    for (let left = count; left > 0; left--) {
      const name = this.value(depth + 1);
      if (typeof name !== 'string' || name === '__proto__') throw new RangeError('a member without a proper name');
      members[name] = this.value(depth + 1);
    }
    return members;
  }

  #enter(depth: number): void {
    if (depth === MAX_DEPTH) throw new RangeError('nested too deep');
  }

  /** Moves on; where it was. */
  #skip(count: number): number {
    const at = this.#at;
    if (at + count > this.#bytes.length) throw new RangeError('cut short');
    this.#at = at + count;
    return at;
  }
}
