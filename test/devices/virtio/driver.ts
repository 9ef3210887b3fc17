/** A driver of virtio for tests: it lays rings out in plain memory and speaks split virtqueues. */
import type { VirtioDevice } from '../../../devices/virtio/device.ts';
import type { VirtioMemory } from '../../../devices/virtio/queue.ts';

export const MEMORY_BASE = 0x8000_0000;

/** Memory at MEMORY_BASE, as a device reaches it. */
export class PlainMemory implements VirtioMemory {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  /** `memory`: its size, or the bytes that it is made of. */
  constructor(memory: number | Uint8Array) {
    this.bytes = typeof memory === 'number' ? new Uint8Array(memory) : memory;
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length);
  }

  read(at: number, into: Uint8Array): boolean {
    const from = at - MEMORY_BASE;
    if (from < 0 || from + into.length > this.bytes.length) return false;
    into.set(this.bytes.subarray(from, from + into.length));
    return true;
  }

  write(at: number, bytes: Uint8Array): boolean {
    const to = at - MEMORY_BASE;
    if (to < 0 || to + bytes.length > this.bytes.length) return false;
    this.bytes.set(bytes, to);
    return true;
  }

  idle(): void {}
}

export interface Buffer {
  /** Offset in memory. */
  readonly at: number;
  readonly length: number;
  readonly writable?: boolean;
}

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

/** The driver's side of one queue; its areas begin at `at` in memory. */
export class DriverQueue {
  readonly size: number;
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  readonly #memory: PlainMemory;
  #added = 0;
  #seen = 0;
  #next = 0;

  constructor(memory: PlainMemory, at: number, size: number) {
    this.#memory = memory;
    this.size = size;
    this.desc = at;
    this.avail = at + 16 * size;
    this.used = this.avail + 6 + 2 * size + 2;
  }

  /** Makes a chain available; returns its head. */
  add(buffers: readonly Buffer[], indirectAt?: number): number {
    const head = this.#next;
    if (indirectAt === undefined) {
      this.#table(this.desc, buffers, head);
      this.#next = (this.#next + buffers.length) % this.size;
    } else {
      this.#table(indirectAt, buffers, 0);
      this.#descriptor(this.desc + 16 * head, { at: indirectAt, length: 16 * buffers.length }, INDIRECT, 0);
      this.#next = (this.#next + 1) % this.size;
    }
    this.#memory.view.setUint16(this.avail + 4 + 2 * (this.#added % this.size), head, true);
    this.#added = (this.#added + 1) & 0xffff;
    this.#memory.view.setUint16(this.avail + 2, this.#added, true);
    return head;
  }

  /** What the device has given back since the last look: heads and bytes written. */
  takeUsed(): { head: number; written: number }[] {
    const { view } = this.#memory;
    const given = view.getUint16(this.used + 2, true);
    const found = [];
    for (; this.#seen !== given; this.#seen = (this.#seen + 1) & 0xffff) {
      const at = this.used + 4 + 8 * (this.#seen % this.size);
      found.push({ head: view.getUint32(at, true), written: view.getUint32(at + 4, true) });
    }
    return found;
  }

  /** Interrupt when the device has given back more than this many (EVENT_IDX). */
  interruptAfter(given: number): void {
    this.#memory.view.setUint16(this.avail + 4 + 2 * this.size, given, true);
  }

  /** From how many taken on the device wants to be notified (EVENT_IDX). */
  get noticeFrom(): number {
    return this.#memory.view.getUint16(this.used + 4 + 8 * this.size, true);
  }

  #table(at: number, buffers: readonly Buffer[], first: number): void {
    buffers.forEach((buffer, i) => {
      const last = i === buffers.length - 1;
      const flags = (buffer.writable ? WRITE : 0) | (last ? 0 : NEXT);
      const entries = at === this.desc ? this.size : buffers.length;
      this.#descriptor(at + 16 * ((first + i) % entries), buffer, flags, (first + i + 1) % entries);
    });
  }

  #descriptor(at: number, { at: buffer, length }: Buffer, flags: number, next: number): void {
    const { view } = this.#memory;
    view.setBigUint64(at, BigInt(MEMORY_BASE + buffer), true);
    view.setUint32(at + 8, length, true);
    view.setUint16(at + 12, flags, true);
    view.setUint16(at + 14, next, true);
  }
}

export const FEATURES_OK = 0xb;
export const DRIVER_OK = 0xf;

/** Brings a device up with these queues and VERSION_1 (virtio 1.3 §3.1.1). */
export function bringUp(device: VirtioDevice, queues: readonly DriverQueue[]): void {
  device.status = 1;
  device.status = 3;
  device.driverSelect = 1;
  device.accept(1); // VERSION_1
  device.status = FEATURES_OK;
  for (const [i, { size, desc, avail, used }] of queues.entries()) {
    const queue = device.queues[i]!;
    queue.size = size;
    queue.desc = MEMORY_BASE + desc;
    queue.driver = MEMORY_BASE + avail;
    queue.device = MEMORY_BASE + used;
    queue.ready = true;
  }
  device.status = DRIVER_OK;
}
