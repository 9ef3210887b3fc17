/**
 * The UART's line to a socket, in place of the terminal that main serves. The owner moves input
 * from the socket into the console's ring, as far as there is room.
 */
import type { SocketStream } from '../../../devices/backends/socket-stream.ts';
import { SysError } from '../../../platform/errno.ts';
import type { ConsoleInput } from './console-input.ts';
import type { WriteBytes } from './console-output.ts';

const PIECE = 4096;

export class SerialLine {
  readonly #stream: SocketStream;
  readonly #input: ConsoleInput;
  readonly #piece = new Uint8Array(PIECE);
  /** The socket may have more than the ring had room for. */
  #more = false;

  constructor(stream: SocketStream, input: ConsoleInput) {
    this.#stream = stream;
    this.#input = input;
  }

  update(): void {
    const room = Math.min(this.#input.room, PIECE);
    const count = room === 0 ? 0 : this.#stream.read(this.#piece.subarray(0, room));
    if (count > 0) this.#input.push(this.#piece.subarray(0, count));
    this.#more = count === room;
  }

  /** 0: there may be input, and there is room for it; no news will tell of it. */
  dueMs(): number | undefined {
    return this.#more && this.#input.room > 0 ? 0 : undefined;
  }
}

/** The console's way out, for ConsoleOutput. */
export const toStream =
  (stream: SocketStream): WriteBytes =>
  (bytes) => {
    const count = stream.send(bytes);
    if (count === 0 && bytes.length > 0) throw new SysError('EAGAIN', 'the socket is full');
    return count;
  };
