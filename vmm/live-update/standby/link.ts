/** One end of the socket between a VMM and its standby. */
import { Socket } from 'node:net';

import { codeOf, eproto } from '../../../platform/errno.ts';
import { encodeFrame, FrameReader } from '../../../platform/frames.ts';
import { handleFd } from '../../../platform/handle-fd.ts';
import { POLLIN, poll } from '../../../platform/libc/poll.ts';
import { recv, sendAll } from '../../../platform/libc/unix-socket.ts';

/** Bytes that are received at a time. */
const CHUNK = 4096;

/** Hears messages one after the other, and waits for the next one. */
export class Link<In, Out> {
  readonly #socket: Socket;
  readonly #read: (value: unknown) => In;
  readonly #frames = new FrameReader();
  readonly #heard: In[] = [];
  #closed = false;
  #wake: () => void = () => {};

  /** The fd belongs to the link. `read` throws for what the other side must not say. */
  constructor(fd: number, read: (value: unknown) => In) {
    this.#socket = new Socket({ fd, readable: true, writable: true });
    this.#read = read;
    this.#socket.on('data', (chunk) => this.#hear(chunk));
    this.#socket.on('error', () => {}); // 'close' follows
    this.#socket.once('close', () => {
      this.#closed = true;
      this.#wake();
    });
  }

  /** undefined once it is closed. */
  get fd(): number | undefined {
    return handleFd(this.#socket);
  }

  send(message: Out): void {
    if (!this.#socket.destroyed) this.#socket.write(encodeFrame(message));
  }

  /** As `send`; the message is in the kernel when this returns. EPIPE, EAGAIN. */
  sendNow(message: Out): void {
    const fd = handleFd(this.#socket);
    if (fd === undefined || this.#socket.writableLength > 0) throw eproto('the standby does not listen');
    sendAll(fd, encodeFrame(message));
  }

  /**
   * The next message; 'closed' when the other side has ended; 'late' when nothing came within
   * `ms`. One caller at a time.
   */
  async next(ms?: number): Promise<In | 'closed' | 'late'> {
    const deadline = ms === undefined ? Number.POSITIVE_INFINITY : performance.now() + ms;
    for (;;) {
      const message = this.#heard.shift();
      if (message !== undefined) return message;
      if (this.#closed) return 'closed';
      const left = deadline - performance.now();
      if (left <= 0) return 'late';
      await this.#news(left);
    }
  }

  /**
   * The next message, for which this thread waits without its event loop, whose way from a word to
   * its listener takes as long as all the rest. undefined: none came within `ms`, or the other side
   * has ended, which `next` tells.
   */
  nextNow(ms: number): In | undefined {
    const fd = handleFd(this.#socket);
    const deadline = performance.now() + ms;
    const chunk = new Uint8Array(CHUNK);
    while (this.#heard.length === 0 && fd !== undefined) {
      if (!poll([{ fd, events: POLLIN }], Math.max(0, deadline - performance.now()))) return undefined;
      const count = received(fd, chunk);
      if (count === 0) break;
      this.#hear(chunk.subarray(0, count));
      if (this.#socket.destroyed) break;
    }
    return this.#heard.shift();
  }

  /**
   * As `next`, for a message of this kind. EPROTO: the other side has ended, says nothing or
   * another thing.
   */
  async expect<K extends (In & { kind: string })['kind']>(
    kind: K,
    ms: number,
  ): Promise<Extract<In, { readonly kind: K }>> {
    const message = await this.next(ms);
    if (typeof message === 'object' && message !== null && (message as { kind?: string }).kind === kind) {
      return message as Extract<In, { readonly kind: K }>;
    }
    if (message === 'closed') throw eproto('it has ended');
    if (message === 'late') throw eproto(`it says nothing for ${ms / 1000} s`);
    const { kind: other, reason } = message as { kind?: string; reason?: string };
    throw eproto(reason ?? `it says ${other}`);
  }

  /** Closes this end. */
  close(): void {
    this.#socket.destroy();
  }

  #hear(chunk: Uint8Array): void {
    try {
      for (const value of this.#frames.push(chunk)) this.#heard.push(this.#read(value));
    } catch {
      this.#socket.destroy(); // it is none of ours: as if it had ended
    }
    this.#wake();
  }

  #news(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const late = Number.isFinite(ms) ? setTimeout(resolve, ms) : undefined;
      this.#wake = () => {
        clearTimeout(late);
        resolve();
      };
    });
  }
}

/** Bytes received; 0 when the other side has ended, in whatever way. */
function received(fd: number, into: Uint8Array): number {
  try {
    return recv(fd, into);
  } catch (error) {
    if (codeOf(error) !== 'ECONNRESET') throw error;
    return 0;
  }
}
