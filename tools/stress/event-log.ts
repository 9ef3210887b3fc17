/**
 * An actor's log: its latest events, and counts of all it has done. The log is a ring in a memfd
 * that the shard makes and both map, so it survives the actor's exec and its death at any moment.
 */
import { monotonicNs } from '../../platform/clock.ts';
import { atomic32, bytes, defineShared, word64 } from '../../platform/shared.ts';

const NR_EVENTS = 256;
const TEXT_BYTES = 180;

const Header = defineShared('actor log', {
  written: atomic32, // actor: events begun; publishes the slots
  phase: atomic32, // actor: one of PHASE
  pid: atomic32, // actor
  pad0: bytes(4),
  beatNs: word64, // actor: CLOCK_MONOTONIC of its last sign of life
  pad1: bytes(40),
  stop: atomic32, // shard: 1 = end in order; 2 = wait for the kernel's end
  pad2: bytes(60),
});

const Counters = defineShared('actor counters', {
  operations: word64, // of all kinds; actor
  maps: word64,
  unmaps: word64,
  vaddrUpdates: word64,
  execs: word64,
  failedExecs: word64,
  takeovers: word64, // by a guardian, from a successor that was no good
  refusals: word64, // errnos that were expected
  pagesChecked: word64,
  countsChecked: word64,
  transfers: word64, // by edu and mscribe, checked byte by byte
  sleeps: word64, // of mscribe on an invalid vaddr
  frames: word64, // of capture, checked byte by byte
  interrupts: word64, // taken from eventfds and found right
  kexecs: word64, // over which a client has found all that it had
  claims: word64, // MAP_DMA of what an earlier kernel has left
  garbage: word64, // connections and calls that make no sense
  dmaBytes: word64, // of all devices since power-on
  slowestUs: word64, // longest time for one question to the host
});

const Slot = defineShared('actor event', {
  atNs: word64,
  length: atomic32,
  text: bytes(TEXT_BYTES),
});

export const LOG_BYTES = Header.size + Counters.size + NR_EVENTS * Slot.size;

export type Counter = keyof typeof Counters.word64;
export type Counts = Readonly<Record<Counter, number>>;
export const COUNTERS = Object.keys(Counters.word64) as readonly Counter[];

/**
 * `guarded`: executing, and a guardian goes on if the new image does not. `parked`: waiting for the
 * kernel's end.
 */
export const PHASE = { starting: 0, running: 1, executing: 2, ended: 3, guarded: 4, parked: 5 } as const;

const STOP = 1;
const PARK = 2;
export type Phase = (typeof PHASE)[keyof typeof PHASE];

const counterIndex = (counter: Counter): number => Header.size / 8 + Counters.word64[counter];
const slotOffset = (event: number): number => Header.size + Counters.size + (event % NR_EVENTS) * Slot.size;

export interface ActorEvent {
  readonly atNs: number;
  readonly text: string;
}

/** The actor's side. */
export class EventLog {
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #buffer: SharedArrayBuffer;
  #text: Uint8Array;
  #length = 0;
  #lengthWord = 0;

  constructor(buffer: SharedArrayBuffer) {
    this.#buffer = buffer;
    this.#words = new Int32Array(buffer);
    this.#doubles = new Float64Array(buffer);
    this.#text = new Uint8Array(buffer, 0, 0);
    Atomics.store(this.#words, Header.word.pid, process.pid);
    this.beat();
  }

  /** Begins a new event. */
  event(text: string): void {
    const written = Atomics.load(this.#words, Header.word.written);
    const offset = slotOffset(written >>> 0);
    this.#text = new Uint8Array(this.#buffer, offset + Slot.offset.text, TEXT_BYTES);
    this.#lengthWord = offset / 4 + Slot.word.length;
    this.#length = 0;
    const nowNs = this.beat();
    this.#doubles[offset / 8 + Slot.word64.atNs] = nowNs;
    this.add(text);
    // pairs with the load in LogReader.events
    Atomics.store(this.#words, Header.word.written, written + 1);
  }

  /** Adds to the current event, for example its outcome. */
  add(text: string): void {
    const end = Math.min(TEXT_BYTES, this.#length + text.length);
    for (let i = this.#length; i < end; i++) this.#text[i] = text.charCodeAt(i - this.#length);
    this.#length = end;
    Atomics.store(this.#words, this.#lengthWord, end); // pairs with the load in LogReader.events
  }

  /** Gives a sign of life, and returns its time. */
  beat(): number {
    const nowNs = monotonicNs();
    this.#doubles[Header.word64.beatNs] = nowNs;
    return nowNs;
  }

  enter(phase: Phase): void {
    Atomics.store(this.#words, Header.word.phase, phase); // pairs with the load in LogReader.phase
  }

  count(counter: Counter, more = 1): void {
    this.#doubles[counterIndex(counter)]! += more;
  }

  /** Sets a counter that is the largest or the latest of something. */
  set(counter: Counter, value: number): void {
    this.#doubles[counterIndex(counter)] = value;
  }

  get(counter: Counter): number {
    return this.#doubles[counterIndex(counter)]!;
  }

  stopRequested(): boolean {
    // pairs with the store in LogReader.requestStop
    return Atomics.load(this.#words, Header.word.stop) === STOP;
  }

  parkRequested(): boolean {
    // pairs with the store in LogReader.requestPark
    return Atomics.load(this.#words, Header.word.stop) === PARK;
  }
}

/** The shard's side. */
export class LogReader {
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #buffer: SharedArrayBuffer;

  constructor(buffer: SharedArrayBuffer) {
    this.#buffer = buffer;
    this.#words = new Int32Array(buffer);
    this.#doubles = new Float64Array(buffer);
  }

  /** Prepares the log for a new process. Events and counters are kept. */
  restart(): void {
    Atomics.store(this.#words, Header.word.stop, 0);
    Atomics.store(this.#words, Header.word.phase, PHASE.starting);
    Atomics.store(this.#words, Header.word.pid, 0);
    this.#doubles[Header.word64.beatNs] = monotonicNs();
  }

  requestStop(): void {
    // pairs with the load in EventLog.stopRequested
    Atomics.store(this.#words, Header.word.stop, STOP);
  }

  requestPark(): void {
    // pairs with the load in EventLog.parkRequested
    Atomics.store(this.#words, Header.word.stop, PARK);
  }

  phase(): number {
    return Atomics.load(this.#words, Header.word.phase); // pairs with the store in EventLog.enter
  }

  /** 0 until the process has opened its log. */
  pid(): number {
    return Atomics.load(this.#words, Header.word.pid);
  }

  beatNs(): number {
    return this.#doubles[Header.word64.beatNs]!;
  }

  counts(): Counts {
    return Object.fromEntries(
      COUNTERS.map((counter) => [counter, this.#doubles[counterIndex(counter)]!]),
    ) as unknown as Counts;
  }

  /** The last events, at most `most`, oldest first. */
  events(most: number): ActorEvent[] {
    // pairs with the store in EventLog.event
    const written = Atomics.load(this.#words, Header.word.written) >>> 0;
    const nr = Math.min(most, written, NR_EVENTS);
    return Array.from({ length: nr }, (_, i) => this.#event(written - nr + i));
  }

  #event(number: number): ActorEvent {
    const offset = slotOffset(number);
    // pairs with the store in EventLog.add
    const length = Atomics.load(this.#words, offset / 4 + Slot.word.length);
    const text = new Uint8Array(this.#buffer, offset + Slot.offset.text, Math.min(length, TEXT_BYTES));
    return { atNs: this.#doubles[offset / 8 + Slot.word64.atNs]!, text: Buffer.from(text).toString('latin1') };
  }
}
