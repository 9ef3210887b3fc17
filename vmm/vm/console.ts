/**
 * The terminal's side of the guest's console. stdin goes to the shared ring. Input that does not
 * fit waits here, and stdin is paused.
 */
import { fstatSync, readSync } from 'node:fs';
import { defineSection, type StateOf } from '../../platform/section.ts';
import { bytes } from '../../platform/shape.ts';
import { int32s } from '../../platform/shared.ts';
import type { VmShared } from '../crew/vm-shared.ts';
import { OWNER_HART, wakeHart } from '../machine/control/control-block.ts';
import { ConsoleInput } from '../machine/shared/console-input.ts';

/** Input that was typed and that the guest has not read. */
export const CONSOLE_SECTION = defineSection('console', 1, { input: bytes });

export type ConsoleState = StateOf<typeof CONSOLE_SECTION>;

const STDIN = 0;
/** Bytes that are read of a file at a time. */
const CHUNK = 4096;

export class Console {
  readonly #ring: ConsoleInput;
  readonly #control: Int32Array;
  #overflow: Uint8Array = new Uint8Array();
  /**
   * Whether stdin is a file. We read a file ourselves, and only as far as there is room. A stream
   * of Node's would read ahead in another thread, and an execve would lose those bytes.
   */
  #isFile = false;

  constructor(shared: VmShared) {
    this.#ring = new ConsoleInput(shared.input);
    this.#control = int32s(shared.control);
  }

  /** Takes input that was typed before this image had the console. To be called before `open`. */
  restore(unread: Uint8Array): void {
    this.#overflow = unread;
  }

  /**
   * Starts reading stdin. Touching process.stdout makes a pipe or socket there non-blocking, so
   * that a reader that stopped reading does not stop the vCPU (machine/shared/console-output.ts
   * copes with EAGAIN). libuv opens a terminal anew.
   */
  open(): void {
    process.stdout.on('error', () => {}); // nothing is written through the stream
    this.#isFile = fstatSync(STDIN).isFile();
    if (!this.#isFile) {
      process.stdin.on('data', (chunk: Buffer) => this.#take(chunk));
      process.stdin.on('error', () => {}); // EIO: the terminal is gone, there will be no more input
    }
    this.refill();
  }

  /** Goes on reading: the ring has room again. */
  refill(): void {
    const rest = this.#overflow;
    this.#overflow = new Uint8Array();
    if (rest.length > 0) this.#take(rest);
    if (this.#overflow.length > 0) return;
    if (this.#isFile) this.#readFile();
    else process.stdin.resume();
  }

  #readFile(): void {
    const chunk = new Uint8Array(CHUNK);
    while (this.#overflow.length === 0) {
      const length = readSync(STDIN, chunk);
      if (length === 0) return;
      this.#take(chunk.slice(0, length));
    }
  }

  /** Stops reading, for good or until `refill`. */
  pause(): void {
    if (!this.#isFile) process.stdin.pause();
  }

  /**
   * All input that was typed and that the guest has not read. To be called only while the vCPU is
   * stopped and stdin paused.
   */
  save(): Uint8Array {
    // what the stream has buffered goes to our 'data' listener, once
    if (!this.#isFile) while (process.stdin.read() !== null);
    return Buffer.concat([this.#ring.peek(), this.#overflow]);
  }

  #take(input: Uint8Array): void {
    if (this.#overflow.length > 0) {
      this.#overflow = Buffer.concat([this.#overflow, input]);
      return;
    }
    const taken = this.#ring.push(input);
    if (taken < input.length) {
      this.#overflow = input.slice(taken);
      this.pause();
    }
    wakeHart(this.#control, OWNER_HART);
  }
}
