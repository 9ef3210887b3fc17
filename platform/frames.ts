/** Message frames of the UNIX sockets: u32 little-endian length, then one msgpack value (plain maps, no shared record structures). */
import { eproto, SysError } from './errno.ts';
import { pack, unpack } from './msgpack.ts';

/** Longest body of a frame; a larger one is a protocol error (EMSGSIZE), so that a client cannot make the host allocate at will. */
export const MAX_FRAME = 32 * 1024 * 1024;
const HEADER = 4;

/** One frame, ready to send. */
export function encodeFrame(value: unknown): Uint8Array {
  const body = pack(value);
  const frame = new Uint8Array(HEADER + body.length);
  new DataView(frame.buffer).setUint32(0, body.length, true);
  frame.set(body, HEADER);
  return frame;
}

/** Cuts a byte stream into frames. */
export class FrameReader {
  #pending: Uint8Array = new Uint8Array(0);

  /** Values of all frames that are complete with this chunk. EMSGSIZE for an oversized frame, EPROTO for bytes that are not msgpack. */
  push(chunk: Uint8Array): unknown[] {
    let data = chunk;
    if (this.#pending.length > 0) {
      data = new Uint8Array(this.#pending.length + chunk.length);
      data.set(this.#pending);
      data.set(chunk, this.#pending.length);
    }
    const values: unknown[] = [];
    let at = 0;
    while (data.length - at >= HEADER) {
      const length = new DataView(data.buffer, data.byteOffset + at, HEADER).getUint32(0, true);
      if (length > MAX_FRAME) throw new SysError('EMSGSIZE', `frame of ${length} bytes`);
      if (data.length - at - HEADER < length) break;
      const start = at + HEADER;
      at = start + length;
      values.push(decode(data.subarray(start, at)));
    }
    this.#pending = data.slice(at);
    return values;
  }
}

function decode(body: Uint8Array): unknown {
  try {
    return unpack(body);
  } catch (error) {
    throw eproto(`frame is not msgpack: ${(error as Error).message}`);
  }
}
