/**
 * The host's side of the serial line: bytes of the guest's console on their way to stdout. They are
 * written synchronously, by whole lines where possible. While stdout is full (a pipe that nobody
 * empties), they wait here, and the UART says "not empty".
 */
import { writeSync } from 'node:fs';

/** With this many bytes waiting here, the UART's transmitter counts as busy. */
const HIGH_WATER = 4096;
/**
 * The most bytes that wait here. A guest that ignores a busy transmitter overruns this, and the
 * rest is lost as on a real line.
 */
const CAPACITY = 65536;
const NEWLINE = 0x0a;
const RETRY_MS = 2;

/** Writes some of the bytes; returns their number. Throws as fs.writeSync does. */
export type WriteBytes = (bytes: Uint8Array) => number;

const toStdout: WriteBytes = (bytes) => writeSync(1, bytes);

export class ConsoleOutput {
  readonly #write: WriteBytes;
  readonly #buffer = new Uint8Array(CAPACITY);
  #length = 0;

  constructor(write: WriteBytes = toStdout) {
    this.#write = write;
  }

  /** Whether the transmitter may take another byte. */
  get ready(): boolean {
    return this.#length < HIGH_WATER;
  }

  /** Whether bytes wait to be written. */
  get pending(): boolean {
    return this.#length > 0;
  }

  put(byte: number): void {
    if (this.#length === CAPACITY) return;
    this.#buffer[this.#length++] = byte;
    if (byte === NEWLINE || this.#length >= HIGH_WATER) this.flush();
  }

  /** Writes what stdout takes now. */
  flush(): void {
    let done = 0;
    try {
      while (done < this.#length) done += this.#write(this.#buffer.subarray(done, this.#length));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // EPIPE, EIO, EBADF: no reader will come any more; the guest runs on
      if (code !== 'EAGAIN') done = this.#length;
    }
    this.#buffer.copyWithin(0, done, this.#length);
    this.#length -= done;
  }

  /**
   * Writes everything and waits for the reader of stdout, but no longer than timeoutMs; the rest is
   * lost.
   */
  drain(timeoutMs: number): void {
    const nothing = new Int32Array(new SharedArrayBuffer(4));
    const deadline = performance.now() + timeoutMs;
    for (this.flush(); this.pending && performance.now() < deadline; this.flush()) {
      // nothing wakes this wait: only poll(2) tells when a pipe has room, and this thread does not
      // use it
      Atomics.wait(nothing, 0, 0, RETRY_MS);
    }
  }

  save(): Uint8Array {
    return this.#buffer.slice(0, this.#length);
  }

  restore(bytes: Uint8Array): void {
    this.#buffer.set(bytes);
    this.#length = bytes.length;
  }
}
