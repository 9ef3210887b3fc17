/**
 * A wire through a byte stream, as QEMU's `-netdev stream`: each Ethernet frame comes behind its
 * length, 4 bytes big endian. A frame that has not come whole stays in the socket, so it outlives
 * an exec; what the socket has not taken of one that is sent goes with the stream's state. While
 * there is no connection, frames that are sent are lost.
 */
import { MAX_FRAME, type NetPort } from '../virtio/net.ts';

const LENGTH = 4;

/** What a stream is for this (socket-stream.ts). */
export interface FrameStream {
  /** The next bytes, which stay there; 0: there are not so many now. */
  peek(into: Uint8Array): number;
  read(into: Uint8Array): number;
  /** false: there is no room. */
  write(bytes: Uint8Array): boolean;
  hangUp(): void;
}

export class FramePort implements NetPort {
  readonly #stream: FrameStream;
  readonly #buffer = Buffer.alloc(LENGTH + MAX_FRAME);

  constructor(stream: FrameStream) {
    this.#stream = stream;
  }

  /** A length that no frame has ends the connection. */
  receive(): Uint8Array | undefined {
    if (this.#stream.peek(this.#buffer.subarray(0, LENGTH)) === 0) return undefined;
    const length = this.#buffer.readUInt32BE(0);
    if (length > MAX_FRAME) {
      this.#stream.hangUp();
      return undefined;
    }
    const whole = this.#buffer.subarray(0, LENGTH + length);
    if (this.#stream.peek(whole) === 0) return undefined;
    this.#stream.read(whole);
    return whole.subarray(LENGTH);
  }

  send(frame: Uint8Array): boolean {
    const whole = Buffer.alloc(LENGTH + frame.length);
    whole.writeUInt32BE(frame.length);
    whole.set(frame, LENGTH);
    return this.#stream.write(whole);
  }
}
