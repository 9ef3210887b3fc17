/**
 * How a hart on a thread of its own reaches the devices of the owner, and the host behind
 * semihosting: one slot of shared memory for each hart.
 *
 * The hart puts its access into the slot, posts it, calls the owner's attention and sleeps on the
 * slot. The owner looks between two slices of its own hart, or is woken from WFI; it makes the
 * access and answers. An access is made once and is never given up, because the guest cannot take
 * it back. Only if the hart's thread must end, nobody waits for the answer any more.
 */

import type { Semihosting } from '../../../guest/riscv/environment.ts';
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import { atomic32, bytes, defineShared, int32s, type SharedPart, uint8s } from '../../../platform/shared.ts';
import { hartCount, OWNER_HART } from '../control/control-block.ts';
import { callAttention } from '../control/lease.ts';
import type { Surroundings } from '../hart-local/hart-local.ts';
import { SEMIHOSTING_DATA_BYTES } from './semihosting.ts';

const Slot = defineShared('far access', {
  /** POSTED by the hart, else by the owner. Publishes all other words, in both directions. */
  state: atomic32,
  kind: atomic32, // hart: LOAD, STORE or CALL
  size: atomic32, // hart: 1, 2, 4 or 8; the operation of a call
  gpaLow: atomic32, // hart; the first number of a call
  gpaHigh: atomic32,
  low: atomic32, // the value; hart (store; the second number of a call) or owner (load; a result)
  high: atomic32,
  taken: atomic32, // owner: 0 is an access fault
  pad: bytes(32),
  data: bytes(SEMIHOSTING_DATA_BYTES), // of a call; hart, and owner while it is POSTED
});

const ANSWERED = 0;
const POSTED = 1;
const LOAD = 0;
const STORE = 1;
const CALL = 2;

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
  readonly #data: Uint8Array;
  readonly #mustEnd: () => boolean;

  /** `mustEnd` tells whether the thread is to end, so that no answer comes any more. */
  constructor(far: SharedPart, control: SharedPart, hart: number, mustEnd: () => boolean) {
    this.#words = int32s(far);
    this.#control = int32s(control);
    this.#at = slotAt(hart);
    this.#data = dataOf(far, hart);
    this.#mustEnd = mustEnd;
  }

  load(gpa: number, size: AccessSize): bigint | undefined {
    return this.#access(LOAD, gpa, size) ? getValue(this.#words, this.#at) : undefined;
  }

  store(gpa: number, size: AccessSize, value: bigint): boolean {
    putValue(this.#words, this.#at, value);
    return this.#access(STORE, gpa, size);
  }

  /** The host that the owner has, as the hart calls it. */
  semihosting(userspace: boolean): Semihosting {
    return {
      userspace,
      data: this.#data,
      call: (operation, a, b) => {
        putValue(this.#words, this.#at, BigInt(b));
        const answered = this.#access(CALL, a, operation);
        return answered ? Number(BigInt.asIntN(64, getValue(this.#words, this.#at))) : -1;
      },
    };
  }

  #access(kind: number, gpa: number, size: number): boolean {
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
  readonly #far: SharedPart;
  readonly #bus: Surroundings;
  readonly #semihosting: Semihosting | undefined;

  constructor(far: SharedPart, control: SharedPart, bus: Surroundings, semihosting?: Semihosting) {
    this.#far = far;
    this.#words = int32s(far);
    this.#harts = hartCount(control);
    this.#bus = bus;
    this.#semihosting = semihosting;
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
    const size = words[at + Slot.word.size]!;
    switch (words[at + Slot.word.kind]) {
      case CALL:
        this.#call(hart, size, gpa);
        return;
      case STORE:
        words[at + Slot.word.taken] = this.#bus.store(gpa, size as AccessSize, getValue(words, at), hart) ? 1 : 0;
        return;
      default: {
        const value = this.#bus.load(gpa, size as AccessSize);
        words[at + Slot.word.taken] = value === undefined ? 0 : 1;
        putValue(words, at, value ?? 0n);
      }
    }
  }

  #call(hart: number, operation: number, a: number): void {
    const at = slotAt(hart);
    const host = this.#semihosting;
    const data = dataOf(this.#far, hart).subarray(0, host?.data.length);
    const b = Number(BigInt.asIntN(64, getValue(this.#words, at)));
    host?.data.set(data);
    putValue(this.#words, at, BigInt(host?.call(operation, a, b) ?? -1));
    if (host) data.set(host.data);
    this.#words[at + Slot.word.taken] = 1;
  }
}

function getValue(words: Int32Array, at: number): bigint {
  return (BigInt(words[at + Slot.word.high]! >>> 0) << 32n) | BigInt(words[at + Slot.word.low]! >>> 0);
}

function putValue(words: Int32Array, at: number, value: bigint): void {
  words[at + Slot.word.low] = Number(BigInt.asIntN(32, value));
  words[at + Slot.word.high] = Number(BigInt.asIntN(32, value >> 32n));
}

const dataOf = (far: SharedPart, hart: number): Uint8Array =>
  uint8s(far).subarray(hart * Slot.size + Slot.offset.data, (hart + 1) * Slot.size);
