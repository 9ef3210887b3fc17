/**
 * How a hart on a thread of its own reaches the devices of the owner: one slot of shared memory for
 * each hart.
 *
 * The hart puts its access into the slot, posts it, calls the owner's attention and sleeps on the
 * slot. The owner looks between two slices of its own hart, or is woken from WFI; it makes the
 * access and answers. An access is made once and is never given up, because the guest cannot take
 * it back. Only if the hart's thread must end, nobody waits for the answer any more.
 */
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import { atomic32, bytes, defineShared, int32s, type SharedPart } from '../../../platform/shared.ts';
import { hartCount, OWNER_HART } from '../control/control-block.ts';
import { callAttention } from '../control/lease.ts';
import type { Surroundings } from '../hart-local/hart-local.ts';

const Slot = defineShared('far access', {
  /** POSTED by the hart, else by the owner. Publishes all other words, in both directions. */
  state: atomic32,
  kind: atomic32, // hart: LOAD or STORE
  size: atomic32, // hart: 1, 2, 4 or 8
  gpaLow: atomic32, // hart
  gpaHigh: atomic32,
  low: atomic32, // the value; hart (store) or owner (load)
  high: atomic32,
  taken: atomic32, // owner: 0 is an access fault
  pad: bytes(32),
});

const ANSWERED = 0;
const POSTED = 1;
const LOAD = 0;
const STORE = 1;

/** The owner answers within a slice; this only bounds a sleep that nobody ends. */
const LOOK_AGAIN_MS = 1000;
/** The most addresses are below 2^52: they are two words. */
const WORD = 2 ** 32;

export const farAccessBytes = (harts: number): number => harts * Slot.size;

const slotAt = (hart: number): number => (hart * Slot.size) / 4;

/** The side of the hart's thread. Its methods block until the owner has answered. */
export class FarSurroundings implements Surroundings {
  readonly #words: Int32Array;
  readonly #control: Int32Array;
  readonly #at: number;
  readonly #mustEnd: () => boolean;

  /** `mustEnd` tells whether the thread is to end, so that no answer comes any more. */
  constructor(far: SharedPart, control: SharedPart, hart: number, mustEnd: () => boolean) {
    this.#words = int32s(far);
    this.#control = int32s(control);
    this.#at = slotAt(hart);
    this.#mustEnd = mustEnd;
  }

  load(gpa: number, size: AccessSize): bigint | undefined {
    if (!this.#access(LOAD, gpa, size)) return undefined;
    const low = BigInt(this.#words[this.#at + Slot.word.low]! >>> 0);
    return (BigInt(this.#words[this.#at + Slot.word.high]! >>> 0) << 32n) | low;
  }

  store(gpa: number, size: AccessSize, value: bigint): boolean {
    this.#words[this.#at + Slot.word.low] = Number(BigInt.asIntN(32, value));
    this.#words[this.#at + Slot.word.high] = Number(BigInt.asIntN(32, value >> 32n));
    return this.#access(STORE, gpa, size);
  }

  #access(kind: number, gpa: number, size: AccessSize): boolean {
    const words = this.#words;
    const state = this.#at + Slot.word.state;
    words[this.#at + Slot.word.kind] = kind;
    words[this.#at + Slot.word.size] = size;
    words[this.#at + Slot.word.gpaLow] = gpa;
    words[this.#at + Slot.word.gpaHigh] = Math.floor(gpa / WORD);
    Atomics.store(words, state, POSTED); // pairs with the load in FarServer.serve
    callAttention(this.#control, OWNER_HART);
    while (Atomics.load(words, state) === POSTED) {
      if (this.#mustEnd()) return false;
      Atomics.wait(words, state, POSTED, LOOK_AGAIN_MS); // FarServer.serve and release notify
    }
    return words[this.#at + Slot.word.taken] === 1;
  }
}

/** The owner's side. */
export class FarServer {
  readonly #words: Int32Array;
  readonly #harts: number;
  readonly #bus: Surroundings;

  constructor(far: SharedPart, control: SharedPart, bus: Surroundings) {
    this.#words = int32s(far);
    this.#harts = hartCount(control);
    this.#bus = bus;
  }

  /** Makes all accesses that are posted. */
  serve(): void {
    for (let hart = 1; hart < this.#harts; hart++) {
      const state = slotAt(hart) + Slot.word.state;
      if (Atomics.load(this.#words, state) !== POSTED) continue; // pairs with the store in #access
      this.#make(hart);
      Atomics.store(this.#words, state, ANSWERED); // pairs with the load in #access
      Atomics.notify(this.#words, state);
    }
  }

  /** Wakes the threads that wait for an answer: they are to end. */
  release(): void {
    for (let hart = 1; hart < this.#harts; hart++) Atomics.notify(this.#words, slotAt(hart) + Slot.word.state);
  }

  #make(hart: number): void {
    const words = this.#words;
    const at = slotAt(hart);
    const gpa = words[at + Slot.word.gpaHigh]! * WORD + (words[at + Slot.word.gpaLow]! >>> 0);
    const size = words[at + Slot.word.size]! as AccessSize;
    if (words[at + Slot.word.kind] === STORE) {
      const value = (BigInt(words[at + Slot.word.high]! >>> 0) << 32n) | BigInt(words[at + Slot.word.low]! >>> 0);
      words[at + Slot.word.taken] = this.#bus.store(gpa, size, value, hart) ? 1 : 0;
      return;
    }
    const value = this.#bus.load(gpa, size);
    words[at + Slot.word.taken] = value === undefined ? 0 : 1;
    words[at + Slot.word.low] = Number(BigInt.asIntN(32, value ?? 0n));
    words[at + Slot.word.high] = Number(BigInt.asIntN(32, (value ?? 0n) >> 32n));
  }
}
