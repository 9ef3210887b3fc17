/**
 * The host's side of the serial line: bytes of the guest's console on their way to stdout. They are
 * written synchronously, by whole lines where possible. While stdout is full (a pipe that nobody
 * empties), they wait here, and the UART says "not empty".
 *
 * While `hold` is on, bytes are written only by `flush`, after the state that has them is
 * published. Shared words then tell a successor how many of them stdout has taken.
 *
 * Where time is counted by instructions, the guest must not see how fast stdout is. So the UART
 * never says "not empty", and the guest stands still while too much waits (`blocks`).
 */
import { writeSync } from 'node:fs';

import { atomic32, defineShared, int32s, type SharedPart } from '../../../platform/shared.ts';

/** With this many bytes waiting here, the UART's transmitter counts as busy. */
const HIGH_WATER = 4096;
/**
 * The most bytes that wait here. A guest that ignores a busy transmitter overruns this, and the
 * rest is lost as on a real line.
 */
const CAPACITY = 65536;
const NEWLINE = 0x0a;
const RETRY_MS = 2;

const OutputWords = defineShared('console output', {
  sent: atomic32, // vCPU: bytes that stdout has taken, modulo 2^32
  writing: atomic32, // vCPU: bytes that a write(2) under way was given; 0: there is none
});

export const CONSOLE_OUTPUT_BYTES = OutputWords.size;

/** How far the output of a process that is dead had come. */
export function outputProgress(part: SharedPart): { readonly sent: number; readonly writing: number } {
  const words = int32s(part);
  return { sent: words[OutputWords.word.sent]!, writing: words[OutputWords.word.writing]! };
}

/** Writes some of the bytes; returns their number. Throws as fs.writeSync does. */
export type WriteBytes = (bytes: Uint8Array) => number;

const toStdout: WriteBytes = (bytes) => writeSync(1, bytes);

export class ConsoleOutput {
  readonly #write: WriteBytes;
  readonly #steady: boolean;
  readonly #words: Int32Array;
  readonly #buffer = new Uint8Array(CAPACITY);
  #length = 0;
  #held = false;
  #due = false;

  /** `steady`: the guest always finds room. */
  constructor(shared: SharedPart, write: WriteBytes = toStdout, { steady = false } = {}) {
    this.#words = int32s(shared);
    this.#write = write;
    this.#steady = steady;
  }

  /** Bytes that stdout has taken since the machine began, modulo 2^32. */
  get sent(): number {
    return Atomics.load(this.#words, OutputWords.word.sent);
  }

  /** Whether a line has ended, or many bytes wait. */
  get due(): boolean {
    return this.#due;
  }

  /** Whether bytes wait for the next `flush`, also at the end of a line. */
  hold(on: boolean): void {
    this.#held = on;
  }

  /** Whether the transmitter may take another byte. */
  get ready(): boolean {
    return this.#steady || this.#length < HIGH_WATER;
  }

  /** Whether the guest must wait until bytes have been written, without knowing it. */
  get blocks(): boolean {
    return this.#steady && this.#length >= HIGH_WATER;
  }

  /** Whether bytes wait to be written. */
  get pending(): boolean {
    return this.#length > 0;
  }

  put(byte: number): void {
    if (this.#length === CAPACITY) return;
    this.#buffer[this.#length++] = byte;
    if (byte !== NEWLINE && this.#length < HIGH_WATER) return;
    this.#due = true;
    if (!this.#held) this.flush();
  }

  /** Writes what stdout takes now. */
  flush(): void {
    let done = 0;
    try {
      while (done < this.#length) done += this.#writeCounted(this.#buffer.subarray(done, this.#length));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // EPIPE, EIO, EBADF: no reader will come any more; the guest runs on
      if (code !== 'EAGAIN') {
        this.#took(this.#length - done);
        done = this.#length;
      }
    }
    this.#due = false;
    this.#buffer.copyWithin(0, done, this.#length);
    this.#length -= done;
  }

  #writeCounted(bytes: Uint8Array): number {
    // Before the write: a death in it leaves open whether the bytes went out.
    Atomics.store(this.#words, OutputWords.word.writing, bytes.length);
    let count = 0;
    try {
      count = this.#write(bytes);
    } finally {
      this.#took(count);
    }
    return count;
  }

  #took(count: number): void {
    Atomics.add(this.#words, OutputWords.word.sent, count);
    Atomics.store(this.#words, OutputWords.word.writing, 0); // after the count
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
