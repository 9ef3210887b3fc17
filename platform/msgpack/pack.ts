/** Values to MessagePack. */
import { SHORT_STRING, TYPE } from './format.ts';

/** A buffer that grew beyond this is not kept. */
const KEPT_BYTES = 65536;

/** `value`, behind `room` bytes for a header. A member that is undefined is left out. TypeError for what is no data. */
export const pack = (value: unknown, room = 0): Uint8Array => packer.pack(value, room);

class Packer {
  #bytes = new Uint8Array(1024);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  pack(value: unknown, room: number): Uint8Array {
    this.#at = 0;
    const at = this.#reserve(room);
    this.#bytes.fill(0, at, room);
    this.#value(value);
    const packed = this.#bytes.slice(0, this.#at);
    if (this.#bytes.length > KEPT_BYTES) this.#resize(KEPT_BYTES);
    return packed;
  }

  #value(value: unknown): void {
    if (typeof value === 'number') this.#number(value);
    else if (typeof value === 'string') this.#string(value);
    else if (typeof value === 'bigint') this.#bigint(value);
    else if (typeof value === 'boolean') this.#type(value ? TYPE.true : TYPE.false);
    else if (value === null || value === undefined) this.#type(TYPE.nil);
    else if (value instanceof Uint8Array) this.#binary(value);
    else if (Array.isArray(value)) this.#array(value);
    else if (typeof value === 'object') this.#map(value);
    else throw new TypeError(`a ${typeof value} is no data`);
  }

  #number(value: number): void {
    if (value >>> 0 === value) {
      if (value < 0x80) this.#type(value);
      else this.#sized(TYPE.uint8, value);
    } else if ((value | 0) === value) {
      if (value >= -0x20) this.#type(value & 0xff);
      else {
        const at = this.#type(TYPE.int32, 4);
        this.#view.setInt32(at, value);
      }
    } else {
      const at = this.#type(TYPE.float64, 8);
      this.#view.setFloat64(at, value);
    }
  }

  #bigint(value: bigint): void {
    const at = this.#type(value < 0n ? TYPE.int64 : TYPE.uint64, 8);
    this.#view.setBigUint64(at, value); // two's complement
  }

  #string(text: string): void {
    const length = Buffer.byteLength(text);
    if (length < 0x20) this.#type(TYPE.fixstr | length);
    else this.#sized(TYPE.str8, length);
    const at = this.#reserve(length);
    if (length === text.length && length <= SHORT_STRING) {
      for (let i = 0; i < length; i++) this.#bytes[at + i] = text.charCodeAt(i);
    } else {
      new TextEncoder().encodeInto(text, this.#bytes.subarray(at));
    }
  }

  #binary(value: Uint8Array): void {
    this.#sized(TYPE.bin8, value.length);
    const at = this.#reserve(value.length);
    this.#bytes.set(value, at);
  }

  #array(items: readonly unknown[]): void {
    this.#counted(TYPE.fixarray, TYPE.array16, items.length);
    for (const item of items) this.#value(item);
  }

  #map(members: object): void {
    const present = Object.entries(members).filter(([, value]) => value !== undefined);
    this.#counted(TYPE.fixmap, TYPE.map16, present.length);
    for (const [name, value] of present) {
      this.#string(name);
      this.#value(value);
    }
  }

  #counted(fix: number, type16: number, count: number): void {
    if (count < 0x10) this.#type(fix | count);
    else if (count < 0x1_0000) this.#uint16(type16, count);
    else this.#uint32(type16 + 1, count);
  }

  #sized(type8: number, size: number): void {
    if (size >= 0x1_0000) this.#uint32(type8 + 2, size);
    else if (size >= 0x100) this.#uint16(type8 + 1, size);
    else {
      const at = this.#type(type8, 1);
      this.#bytes[at] = size;
    }
  }

  #uint16(type: number, value: number): void {
    const at = this.#type(type, 2);
    this.#view.setUint16(at, value);
  }

  #uint32(type: number, value: number): void {
    const at = this.#type(type, 4);
    this.#view.setUint32(at, value);
  }

  /** A first byte; where the `more` bytes behind it go. It may move the buffer. */
  #type(type: number, more = 0): number {
    const at = this.#reserve(1 + more);
    this.#bytes[at] = type;
    return at + 1;
  }

  /** Moves on; where it was. */
  #reserve(count: number): number {
    const at = this.#at;
    this.#at += count;
    if (this.#at > this.#bytes.length) this.#resize(2 * this.#at);
    return at;
  }

  #resize(size: number): void {
    const kept = this.#bytes.subarray(0, size);
    this.#bytes = new Uint8Array(size);
    this.#bytes.set(kept);
    this.#view = new DataView(this.#bytes.buffer);
  }
}

const packer = new Packer();
