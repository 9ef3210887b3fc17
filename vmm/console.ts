/** The terminal's side of the guest's console: stdin goes to the shared ring; what does not fit waits here, and stdin is paused. */
import { ConsoleInput } from './machine/console-input.ts';
import { wakeVcpu } from './machine/control-block.ts';
import type { VmShared } from './vcpu/protocol.ts';

export class Console {
  readonly #ring: ConsoleInput;
  readonly #control: Int32Array;
  #overflow: Uint8Array;

  /** `unread` is what was typed before this image began. */
  constructor(shared: VmShared, unread: Uint8Array = new Uint8Array()) {
    this.#ring = new ConsoleInput(shared.input);
    this.#control = new Int32Array(shared.control);
    this.#overflow = unread;
  }

  /**
   * Starts reading stdin. Touching process.stdout makes a pipe or socket there non-blocking, so that a reader who stopped
   * reading does not stop the vCPU (machine/console-output.ts copes with EAGAIN); a terminal is opened anew by libuv.
   */
  open(): void {
    process.stdout.on('error', () => {}); // nothing is written through the stream
    process.stdin.on('data', (chunk: Buffer) => this.#take(chunk));
    process.stdin.on('error', () => {}); // EIO: the terminal is gone, there will be no more input
    this.refill();
  }

  /** The ring has room again. */
  refill(): void {
    const rest = this.#overflow;
    this.#overflow = new Uint8Array();
    if (rest.length > 0) this.#take(rest);
    if (this.#overflow.length === 0) process.stdin.resume();
  }

  /** Stops reading, for good or until `refill`. */
  pause(): void {
    process.stdin.pause();
  }

  /** All that was typed and not read by the guest. Only while the vCPU is stopped and stdin paused. */
  save(): Uint8Array {
    const buffered: Buffer | null = process.stdin.read();
    return Buffer.concat([this.#ring.peek(), this.#overflow, buffered ?? new Uint8Array()]);
  }

  #take(input: Uint8Array): void {
    if (this.#overflow.length > 0) {
      this.#overflow = Buffer.concat([this.#overflow, input]);
      return;
    }
    const taken = this.#ring.push(input);
    if (taken < input.length) {
      this.#overflow = input.slice(taken);
      process.stdin.pause();
    }
    wakeVcpu(this.#control);
  }
}
