/**
 * Messages of 9P2000.L: integers little endian, strings behind their length in 2 bytes. Each begins
 * with its size (4), type (1) and tag (2).
 */
import { einval } from '../../platform/errno.ts';

export const HEADER = 7;

/** Types of requests; the answer is the next number. */
export const T = {
  statfs: 8,
  lopen: 12,
  readlink: 22,
  getattr: 24,
  readdir: 40,
  fsync: 50,
  lock: 52,
  getlock: 54,
  version: 100,
  attach: 104,
  flush: 108,
  walk: 110,
  read: 116,
  clunk: 120,
  remove: 122,
} as const;
/** Those that would change something. */
const CHANGES = {
  ...{ lcreate: 14, symlink: 16, mknod: 18, rename: 20, setattr: 26, xattrcreate: 32, link: 70, mkdir: 72 },
  ...{ renameat: 74, unlinkat: 76, create: 114, write: 118, remove: T.remove },
};
export const CHANGING: ReadonlySet<number> = new Set(Object.values(CHANGES));
/** The answer to what cannot be done. */
export const R_ERROR = 7;

/** What a file is (qid): its kind, a version that changes with it, and what is its own. */
export interface Qid {
  readonly type: number;
  readonly version: number;
  readonly path: bigint;
}
export const QID_BYTES = 13;

/** EINVAL: the message ends too early. */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  #take(length: number): number {
    const at = this.#at;
    if (at + length > this.#bytes.length) throw einval('the message ends too early');
    this.#at += length;
    return at;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true);
  }

  bytes(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  string(): Uint8Array {
    return this.bytes(this.u16());
  }

  /** Bytes that are left. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  rest(): Uint8Array {
    return this.bytes(this.left);
  }
}

/** EINVAL: there is no room. */
export class Writer {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  length = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get room(): number {
    return this.bytes.length - this.length;
  }

  #place(length: number): number {
    const at = this.length;
    if (length > this.room) throw einval('the answer has no room');
    this.length += length;
    return at;
  }

  u8(value: number): this {
    this.#view.setUint8(this.#place(1), value);
    return this;
  }

  u16(value: number): this {
    this.#view.setUint16(this.#place(2), value, true);
    return this;
  }

  u32(value: number): this {
    this.#view.setUint32(this.#place(4), value, true);
    return this;
  }

  u64(...values: readonly bigint[]): this {
    for (const value of values) this.#view.setBigUint64(this.#place(8), value, true);
    return this;
  }

  raw(bytes: Uint8Array): this {
    this.bytes.set(bytes, this.#place(bytes.length));
    return this;
  }

  string(bytes: Uint8Array): this {
    return this.u16(bytes.length).raw(bytes);
  }

  qid({ type, version, path }: Qid): this {
    return this.u8(type).u32(version).u64(path);
  }
}
