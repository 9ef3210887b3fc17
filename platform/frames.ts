/**
 * Message frames of the UNIX sockets. A frame is a u32 little-endian length and one msgpack value
 * (plain maps, no shared record structures).
 */
import { eproto, SysError } from './errno.ts';
import { isSmall, pack, unpack } from './msgpack.ts';

/**
 * The longest body of a frame. A larger one is a protocol error (EMSGSIZE), so that a peer cannot
 * make this process allocate at will.
 */
export const MAX_FRAME = 32 * 1024 * 1024;
const HEADER = 4;
/** The smallest buffer for the beginning of a frame. */
const MIN_BUFFER = 4096;
const NOTHING = new Uint8Array(0);

/** One frame, ready to send. */
export function encodeFrame(value: unknown): Uint8Array {
  const body = pack(value);
  const frame = new Uint8Array(HEADER + body.length);
  new DataView(frame.buffer).setUint32(0, body.length, true);
  frame.set(body, HEADER);
  return frame;
}

/** Limits on what a reader accepts from a peer that it does not trust. */
export interface FrameLimits {
  /** Bytes of a frame's body. */
  readonly maxFrame?: number;
  /** Values that a frame is made of, map keys counted (msgpack.ts: isSmall). */
  readonly maxValues?: number;
}

/**
 * Cuts a byte stream into frames. Each byte is copied a few times at most, however the stream is
 * cut into chunks. A frame that lies within one chunk is decoded where it lies. The beginning of a
 * frame waits in a buffer, which doubles up to the frame's length.
 */
export class FrameReader {
  readonly #maxFrame: number;
  readonly #maxValues: number;
  /**
   * Bytes [0, #filled) are the beginning of a frame. No buffer is used twice, because decoded
   * values may lie in it.
   */
  #buffer: Uint8Array = NOTHING;
  #filled = 0;

  constructor({ maxFrame = MAX_FRAME, maxValues = Number.POSITIVE_INFINITY }: FrameLimits = {}) {
    this.#maxFrame = maxFrame;
    this.#maxValues = maxValues;
  }

  /** Bytes of memory that the beginning of a frame takes here; 0 between two frames. */
  get held(): number {
    return this.#buffer.length;
  }

  /**
   * Values of all frames that are complete with this chunk. EMSGSIZE for an oversized frame, EPROTO
   * for bytes that are not msgpack, or too many values.
   */
  push(chunk: Uint8Array): unknown[] {
    const values: unknown[] = [];
    for (let at = 0; at < chunk.length; ) {
      const end = this.#filled === 0 ? at + this.#frameLength(chunk, at) : undefined;
      if (end !== undefined && end <= chunk.length) {
        values.push(this.#decode(chunk.subarray(at + HEADER, end)));
        at = end;
        continue;
      }
      const part = chunk.subarray(at, at + this.#missing());
      this.#append(part);
      at += part.length;
      if (this.#missing() === 0) values.push(this.#take());
    }
    return values;
  }

  /**
   * Bytes of the frame that begins at `at`, header included; Infinity if the header is not
   * complete.
   */
  #frameLength(bytes: Uint8Array, at: number): number {
    if (bytes.length - at < HEADER) return Number.POSITIVE_INFINITY;
    const length = (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
    if (length > this.#maxFrame) throw new SysError('EMSGSIZE', `frame of ${length} bytes`);
    return HEADER + length;
  }

  /** Bytes to the end of the header, or to the end of the frame when that is known. */
  #missing(): number {
    return this.#filled < HEADER ? HEADER - this.#filled : this.#frameLength(this.#buffer, 0) - this.#filled;
  }

  #append(part: Uint8Array): void {
    const filled = this.#filled + part.length;
    if (filled > this.#buffer.length) {
      const wished = Math.max(MIN_BUFFER, 2 * this.#buffer.length, filled);
      const buffer = new Uint8Array(Math.min(wished, Math.max(MIN_BUFFER, this.#frameLength(this.#buffer, 0))));
      buffer.set(this.#buffer.subarray(0, this.#filled));
      this.#buffer = buffer;
    }
    this.#buffer.set(part, this.#filled);
    this.#filled = filled;
  }

  #take(): unknown {
    const body = this.#buffer.subarray(HEADER, this.#filled);
    this.#buffer = NOTHING;
    this.#filled = 0;
    return this.#decode(body);
  }

  #decode(body: Uint8Array): unknown {
    if (this.#maxValues < body.length && !isSmall(body, this.#maxValues)) throw eproto('frame of too many values');
    return decode(body);
  }
}

function decode(body: Uint8Array): unknown {
  try {
    return unpack(body);
  } catch (error) {
    throw eproto(`frame is not msgpack: ${(error as Error).message}`);
  }
}
