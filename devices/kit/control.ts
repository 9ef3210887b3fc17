/**
 * Shared words with which the board controls a device worker, besides register accesses. The loop
 * looks at them after a ring of the bell. The defects are there to test the tests (a demo that
 * cannot fail proves nothing); only a board request sets them.
 */
import { ringBell } from '../../platform/mailbox.ts';
import { atomic32, bytes, defineShared } from '../../platform/shared.ts';

const Control = defineShared('device control', {
  stop: atomic32, // board: 1 = leave the loop
  halt: atomic32, // board: 1 = do no work of your own; registers go on answering
  corruptFrame: atomic32, // board adds 1, device takes 1 for each frame it corrupts
  dropInterrupt: atomic32, // board adds 1, device takes 1 for each interrupt it keeps to itself
  uncorrectableError: atomic32, // board adds 1, device takes 1 for each error it records
  news: atomic32, // news thread: 1 = a socket behind the device may have become ready; device: 0 = it looks
  pad: bytes(40),
  state: atomic32, // device worker: one of the states below
  accesses: atomic32, // device worker: register accesses served, mod 2^32
  interrupts: atomic32, // device worker: MSIs the device meant to send, mod 2^32, dropped ones included
});

export const CONTROL_BYTES = Control.size;

/** State of a device worker. */
export const STARTING = 0;
export const RUNNING = 1;
/** Nothing is under way and nothing will be until the halt is lifted. */
export const HALTED = 2;
export const STOPPED = 3;
export type DeviceState = typeof STARTING | typeof RUNNING | typeof HALTED | typeof STOPPED;

/**
 * corrupt-frame: the next frame of a capture device arrives with a wrong bit. drop-interrupt: the
 * next MSI is not sent. uncorrectable-error: a PCI Express function records one.
 */
export type Defect = 'corrupt-frame' | 'drop-interrupt' | 'uncorrectable-error';

const DEFECT_WORD: Readonly<Record<Defect, number>> = {
  'corrupt-frame': Control.word.corruptFrame,
  'drop-interrupt': Control.word.dropInterrupt,
  'uncorrectable-error': Control.word.uncorrectableError,
};

/** One control page, for both sides. */
export class DeviceControl {
  readonly #words: Int32Array;

  constructor(control: SharedArrayBuffer) {
    this.#words = new Int32Array(control);
  }

  // Device worker's side.

  stopping(): boolean {
    // pairs with the store in requestStop
    return Atomics.load(this.#words, Control.word.stop) !== 0;
  }

  halting(): boolean {
    // pairs with the store in requestHalt
    return Atomics.load(this.#words, Control.word.halt) !== 0;
  }

  /** Sets the state. True when it has changed. */
  setState(state: DeviceState): boolean {
    // pairs with the load in state
    return Atomics.exchange(this.#words, Control.word.state, state) !== state;
  }

  /** Whether one defect of this kind is asked for; takes it. */
  take(defect: Defect): boolean {
    const word = DEFECT_WORD[defect];
    if (Atomics.load(this.#words, word) === 0) return false;
    // pairs with the add in inject; this worker is the only taker
    Atomics.sub(this.#words, word, 1);
    return true;
  }

  /** Whether a socket behind the device may have become ready since the last call. */
  takeNews(): boolean {
    if (Atomics.load(this.#words, Control.word.news) === 0) return false;
    // before the device looks at its sockets; pairs with the store in tellNews
    return Atomics.exchange(this.#words, Control.word.news, 0) === 1;
  }

  countAccess(): void {
    Atomics.add(this.#words, Control.word.accesses, 1);
  }

  countInterrupt(): void {
    Atomics.add(this.#words, Control.word.interrupts, 1);
  }

  /** News thread's side: a socket behind the device may have become ready. */
  tellNews(mailbox: SharedArrayBuffer): void {
    Atomics.store(this.#words, Control.word.news, 1); // before the ring; pairs with the exchange in takeNews
    ringBell(mailbox);
  }

  // Board's side: each request is a word and a ring of the worker's bell.

  requestStop(mailbox: SharedArrayBuffer): void {
    Atomics.store(this.#words, Control.word.stop, 1);
    ringBell(mailbox);
  }

  requestHalt(mailbox: SharedArrayBuffer, on: boolean): void {
    Atomics.store(this.#words, Control.word.halt, on ? 1 : 0);
    ringBell(mailbox);
  }

  inject(defect: Defect): void {
    Atomics.add(this.#words, DEFECT_WORD[defect], 1); // pairs with the load in take
  }

  state(): DeviceState {
    // pairs with the exchange in setState
    return Atomics.load(this.#words, Control.word.state) as DeviceState;
  }

  accesses(): number {
    return Atomics.load(this.#words, Control.word.accesses) >>> 0;
  }

  interrupts(): number {
    return Atomics.load(this.#words, Control.word.interrupts) >>> 0;
  }
}
