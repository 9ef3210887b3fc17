/**
 * A split virtqueue, the device's side (virtio 1.3 §2.7). Its rings lie in memory that the driver
 * names; addresses are the driver's. What a driver does wrong is a BadQueue, and the device then
 * asks for a reset (§2.1.1, DEVICE_NEEDS_RESET).
 */

import { fullFence } from '../../platform/fence.ts';

/** Memory as the device reaches it. */
export interface VirtioMemory {
  /** false: not all of [at, at + into.length) can be read. */
  read(at: number, into: Uint8Array): boolean;
  /** false: not all of it could be written. */
  write(at: number, bytes: Uint8Array): boolean;
  /** No access is under way: the device has done what it had to do for now. */
  idle(): void;
}

/** The driver has broken the rules of the queue. */
export class BadQueue extends Error {}

const DESC_F_NEXT = 1;
const DESC_F_WRITE = 2;
const DESC_F_INDIRECT = 4;
const DESC_SIZE = 16;
const AVAIL_F_NO_INTERRUPT = 1;
const RING = 4;
/** The longest chain that an indirect table may have. */
const MAX_INDIRECT = 1024;

export interface Segment {
  readonly at: number;
  readonly length: number;
}

/** Buffers that the driver has made available together. */
export interface Chain {
  readonly head: number;
  /** For the device to read, in order. */
  readonly readable: readonly Segment[];
  /** For the device to write. */
  readonly writable: readonly Segment[];
}

export interface QueueState {
  readonly size: number;
  readonly ready: boolean;
  /** Addresses of the descriptor table, the driver's area and the device's area. */
  readonly desc: number;
  readonly driver: number;
  readonly device: number;
  /** Chains taken and given back, modulo 2^16. */
  readonly taken: number;
  readonly given: number;
  /** Chains given back when the driver was last interrupted. */
  readonly told: number;
}

export class Virtqueue {
  readonly maxSize: number;
  size: number;
  ready = false;
  desc = 0;
  driver = 0;
  device = 0;
  /** VIRTIO_F_EVENT_IDX was accepted. */
  eventIdx = false;
  /** The device's time was over before it looked for the next chain: one may wait. */
  stopped = false;
  readonly #memory: VirtioMemory;
  readonly #goesOn: () => boolean;
  readonly #bytes = new Uint8Array(DESC_SIZE);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #two = this.#bytes.subarray(0, 2);
  readonly #eight = this.#bytes.subarray(0, 8);
  #taken = 0;
  #given = 0;
  #told = 0;

  /** `goesOn`: whether the device has time for one more chain. */
  constructor(memory: VirtioMemory, maxSize: number, goesOn: () => boolean = () => true) {
    this.#memory = memory;
    this.#goesOn = goesOn;
    this.maxSize = maxSize;
    this.size = maxSize;
  }

  reset(): void {
    this.restore({ size: this.maxSize, ready: false, desc: 0, driver: 0, device: 0, taken: 0, given: 0, told: 0 });
  }

  save(): QueueState {
    const { size, ready, desc, driver, device } = this;
    return { size, ready, desc, driver, device, taken: this.#taken, given: this.#given, told: this.#told };
  }

  restore({ size, ready, desc, driver, device, taken, given, told }: QueueState): void {
    Object.assign(this, { size, ready, desc, driver, device });
    this.#taken = taken;
    this.#given = given;
    this.#told = told;
  }

  /**
   * Whether there is a chain to take. If not, either the device's time is over and `stopped` is
   * set, or the driver notifies when it adds one.
   */
  hasChain(): boolean {
    this.stopped = !this.#goesOn();
    return !this.stopped && (this.#hasNext() || this.#askForNotice());
  }

  /** The next chain, in the driver's order; undefined: there is none (hasChain). */
  take(): Chain | undefined {
    return this.hasChain() ? this.takeFound() : undefined;
  }

  /** The chain that hasChain has found. */
  takeFound(): Chain {
    const head = this.#u16(this.driver + RING + 2 * (this.#taken % this.size));
    this.#taken = (this.#taken + 1) & 0xffff;
    return this.#chain(head);
  }

  /** The chain that was taken last is the next one again; nothing was done with it. */
  putBack(): void {
    this.#taken = (this.#taken - 1) & 0xffff;
  }

  /** Gives a chain back, of whose writable buffers `written` bytes were written. */
  give(head: number, written: number): void {
    const at = this.device + RING + 8 * (this.#given % this.size);
    this.#view.setUint32(0, head, true);
    this.#view.setUint32(4, written, true);
    this.#write(at, this.#eight);
    this.#given = (this.#given + 1) & 0xffff;
    this.#putU16(this.device + 2, this.#given); // after the element (§2.7.8)
  }

  /**
   * The driver shall see what this queue's state has given back, and nothing more. After a recovery
   * the memory may be ahead of the state: the driver would see chains that the device takes again.
   */
  showGiven(): void {
    if (!this.ready) return;
    this.#view.setUint16(0, this.#given, true);
    this.#memory.write(this.device + 2, this.#two); // a driver that named no memory loses nothing
  }

  /** Whether the driver wants an interrupt for what was given back since it had the last one. */
  wantsInterrupt(): boolean {
    const given = this.#given;
    if (given === this.#told) return false;
    const since = (given - this.#told) & 0xffff;
    this.#told = given;
    fullFence(); // pairs with the driver's before it looks at the used index again (§2.7.14)
    if (!this.eventIdx) return (this.#u16(this.driver) & AVAIL_F_NO_INTERRUPT) === 0;
    const event = this.#u16(this.driver + RING + 2 * this.size); // used_event (§2.7.7.2)
    return ((given - event - 1) & 0xffff) < since;
  }

  #hasNext(): boolean {
    const waiting = (this.#u16(this.driver + 2) - this.#taken) & 0xffff;
    if (waiting > this.size) throw new BadQueue(`${waiting} chains in a ring of ${this.size}`);
    return waiting > 0;
  }

  /** With event indexes the driver has to be told from where on to notify (§2.7.10). */
  #askForNotice(): boolean {
    if (!this.eventIdx) return false;
    this.#putU16(this.device + RING + 8 * this.size, this.#taken);
    fullFence(); // pairs with the driver's between its index and its look at this (§2.7.13.4)
    return this.#hasNext(); // one that came before the driver could see it
  }

  #chain(head: number): Chain {
    const readable: Segment[] = [];
    const writable: Segment[] = [];
    let table = this.desc;
    let entries = this.size;
    let index = head;
    for (let left = entries; ; left--) {
      if (index >= entries || left === 0) throw new BadQueue(`descriptor ${index} of ${entries}`);
      this.#read(table + DESC_SIZE * index, this.#bytes);
      const at = this.#view.getUint32(4, true) * 2 ** 32 + this.#view.getUint32(0, true);
      const length = this.#view.getUint32(8, true);
      const flags = this.#view.getUint16(12, true);
      const next = this.#view.getUint16(14, true);
      if (flags & DESC_F_INDIRECT) {
        entries = length / DESC_SIZE;
        const alone = table === this.desc && (flags & DESC_F_NEXT) === 0;
        if (!alone || !Number.isInteger(entries) || entries === 0 || entries > MAX_INDIRECT) {
          throw new BadQueue('an indirect table that is none');
        }
        table = at;
        index = 0;
        left = entries + 1;
        continue;
      }
      if (flags & DESC_F_WRITE) writable.push({ at, length });
      else if (writable.length > 0) throw new BadQueue('a buffer to read after one to write');
      else readable.push({ at, length });
      if ((flags & DESC_F_NEXT) === 0) return { head, readable, writable };
      index = next;
    }
  }

  #u16(at: number): number {
    this.#read(at, this.#two);
    return this.#view.getUint16(0, true);
  }

  #putU16(at: number, value: number): void {
    this.#view.setUint16(0, value, true);
    this.#write(at, this.#two);
  }

  #read(at: number, into: Uint8Array): void {
    if (!this.#memory.read(at, into)) throw new BadQueue(`nothing to read at 0x${at.toString(16)}`);
  }

  #write(at: number, bytes: Uint8Array): void {
    if (!this.#memory.write(at, bytes)) throw new BadQueue(`nothing to write to at 0x${at.toString(16)}`);
  }
}

export const lengthOf = (segments: readonly Segment[]): number => segments.reduce((sum, { length }) => sum + length, 0);

/**
 * Copies `bytes` to the segments, from byte `skip` of them on; returns how many had room. BadQueue:
 * they are not in memory.
 */
export function scatter(memory: VirtioMemory, segments: readonly Segment[], bytes: Uint8Array, skip = 0): number {
  return overlap(segments, bytes, skip, (at, piece) => memory.write(at, piece));
}

/** Copies from the segments, from byte `skip` of them on, as much as `into` has room for. */
export function gather(memory: VirtioMemory, segments: readonly Segment[], into: Uint8Array, skip = 0): number {
  return overlap(segments, into, skip, (at, piece) => memory.read(at, piece));
}

function overlap(
  segments: readonly Segment[],
  bytes: Uint8Array,
  skip: number,
  copy: (at: number, piece: Uint8Array) => boolean,
): number {
  let done = 0;
  let before = skip;
  for (const { at, length } of segments) {
    const from = Math.min(before, length);
    before -= from;
    const count = Math.min(length - from, bytes.length - done);
    if (count > 0 && !copy(at + from, bytes.subarray(done, done + count))) {
      throw new BadQueue(`no memory at 0x${(at + from).toString(16)}`);
    }
    done += Math.max(count, 0);
  }
  return done;
}
