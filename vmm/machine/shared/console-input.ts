/**
 * Console input that the guest has not read yet: a byte ring in shared memory. Main fills it, or
 * the vCPU where the line leads to a socket (serial-line.ts); the vCPU's UART empties it. Bytes
 * that were taken keep their place until `release`: after a death within the slice the guest must
 * read them again.
 *
 * Where time is counted by instructions, bytes come at certain moments only: the UART knows of
 * those that were there at the last `hear`.
 */
import { atomic32, bytes, defineShared, int32s, type SharedPart, uint8s, within } from '../../../platform/shared.ts';

const CAPACITY = 4096; // a power of two
const NOTHING = new Uint8Array();

const ConsoleRing = defineShared('console input', {
  head: atomic32, // main: bytes put in; publishes the data before it
  pad0: bytes(60),
  tail: atomic32, // vCPU: bytes taken out and released
  starved: atomic32, // main sets it when the ring is full; the vCPU, which makes room, takes it down
  pad1: bytes(56),
  data: bytes(CAPACITY),
});

export const CONSOLE_INPUT_BYTES = ConsoleRing.size;

export class ConsoleInput {
  readonly #words: Int32Array;
  readonly #data: Uint8Array;
  readonly #hears: boolean;
  /** vCPU: bytes taken out. */
  #taken: number;
  /** vCPU: `head` at the last `hear`. */
  #heard: number;

  /** `hears`: the vCPU calls `hear`. */
  constructor(shared: SharedPart, { hears = false } = {}) {
    this.#words = int32s(shared);
    this.#data = uint8s(within(shared, ConsoleRing.offset.data, CAPACITY));
    this.#hears = hears;
    this.#taken = Atomics.load(this.#words, ConsoleRing.word.tail);
    this.#heard = this.#taken;
  }

  /**
   * Main: puts in what fits; returns the number of bytes taken. `roomWanted` tells when the rest
   * can be put in.
   */
  push(input: Uint8Array): number {
    const head = Atomics.load(this.#words, ConsoleRing.word.head);
    const tail = Atomics.load(this.#words, ConsoleRing.word.tail); // pairs with the store in release
    const count = Math.min(input.length, CAPACITY - ((head - tail) | 0));
    for (let i = 0; i < count; i++) this.#data[(head + i) & (CAPACITY - 1)] = input[i]!;
    // pairs with the exchange in roomWanted
    if (count < input.length) Atomics.store(this.#words, ConsoleRing.word.starved, 1);
    // pairs with the loads in #last and hear
    Atomics.store(this.#words, ConsoleRing.word.head, (head + count) | 0);
    return count;
  }

  /** Whoever pushes: how many bytes fit now. */
  get room(): number {
    return CAPACITY - this.#used();
  }

  /** vCPU: whether there is a byte to take. */
  ready(): boolean {
    return this.#last() !== this.#taken;
  }

  /** vCPU: bytes that can be taken. */
  get waiting(): number {
    return (this.#last() - this.#taken) | 0;
  }

  /** vCPU: what has come until now can be taken; returns what is new of it. */
  hear(): Uint8Array {
    const before = this.#heard;
    this.#heard = Atomics.load(this.#words, ConsoleRing.word.head); // pairs with the store in push
    return this.#heard === before ? NOTHING : this.#copy(before, (this.#heard - before) | 0);
  }

  /** vCPU: so many bytes can be taken: those that another vCPU had heard. */
  hearAgain(bytes: number): void {
    this.#heard = (this.#taken + bytes) | 0;
  }

  /** vCPU: the next byte; undefined if there is none. */
  take(): number | undefined {
    if (!this.ready()) return undefined;
    const byte = this.#data[this.#taken & (CAPACITY - 1)];
    this.#taken = (this.#taken + 1) | 0;
    return byte;
  }

  /** vCPU: bytes taken out since the machine began, modulo 2^32. */
  get taken(): number {
    return this.#taken;
  }

  /** vCPU: main may use the room of the bytes that were taken. */
  release(): void {
    // pairs with the load in push
    Atomics.store(this.#words, ConsoleRing.word.tail, this.#taken);
  }

  /** vCPU: true once if main waits for room and half of the ring is free: main must be told. */
  roomWanted(): boolean {
    if (Atomics.load(this.#words, ConsoleRing.word.starved) === 0 || this.#used() > CAPACITY / 2) return false;
    return Atomics.exchange(this.#words, ConsoleRing.word.starved, 0) === 1;
  }

  /** All bytes in the ring; they stay there. To be called only while the vCPU is stopped. */
  peek(): Uint8Array {
    return this.after(Atomics.load(this.#words, ConsoleRing.word.tail));
  }

  /** All bytes that were put in after `taken` others. These are still there until `release`. */
  after(taken: number): Uint8Array {
    return this.#copy(taken, (Atomics.load(this.#words, ConsoleRing.word.head) - taken) | 0);
  }

  /** Whether main has input that did not fit. */
  get starved(): boolean {
    return Atomics.load(this.#words, ConsoleRing.word.starved) === 1;
  }

  #copy(from: number, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, i) => this.#data[(from + i) & (CAPACITY - 1)]!);
  }

  #last(): number {
    return this.#hears ? this.#heard : Atomics.load(this.#words, ConsoleRing.word.head); // pairs with push
  }

  #used(): number {
    return (Atomics.load(this.#words, ConsoleRing.word.head) - Atomics.load(this.#words, ConsoleRing.word.tail)) | 0;
  }
}
