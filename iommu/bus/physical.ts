/**
 * Physical address space of the board, as one thread sees it. A pa is a number below 2^52; page numbers (pfn) inside.
 * Ranges are [start, end). The board owns the authoritative map and tells each thread of changes by a message port; it
 * posts a change *before* any page table entry or directory can lead to it, so whoever has read such an entry finds the
 * message when it drains the port (`resolve`), even if the pa was used for something else before.
 */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { SysError } from '../../platform/errno.ts';
import { hex } from '../../platform/hex.ts';
import { pread, pwrite } from '../../platform/libc.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { BarGate } from './bar-gate.ts';
import { readFileMemory, writeFileMemory } from './file-memory.ts';
import { DoorbellTable } from './interrupts.ts';

/** Shared bytes: guest RAM, kernel RAM. */
export interface RamRange {
  readonly kind: 'ram';
  readonly start: number;
  readonly size: number;
  readonly buffer: SharedArrayBuffer;
}

/** A BAR that is memory, at its address on the bus; accesses while its function does not answer are Unsupported Requests. */
export interface BarRange {
  readonly kind: 'bar';
  readonly start: number;
  readonly size: number;
  readonly fd: number;
  readonly gate: SharedArrayBuffer;
}

/**
 * Memory of a client, through its /proc/<pid>/mem; or a memory object that may become shorter, through our own. Where nothing is mapped, or
 * the mm is dead, reads give 0 and writes vanish.
 */
export interface ProcessRange {
  readonly kind: 'process';
  readonly start: number;
  readonly size: number;
  readonly memFd: number;
  readonly vaddr: number;
}

/** 32-bit stores raise the interrupt that is their data. */
export interface DoorbellRange {
  readonly kind: 'doorbell';
  readonly start: number;
  readonly size: number;
  readonly interrupts: SharedArrayBuffer;
}

export type PaRange = RamRange | BarRange | ProcessRange | DoorbellRange;

/** A message to every thread; `detach` names the start of the range. */
export type PhysicalChange = { readonly attach: PaRange } | { readonly detach: number };

/** A range that is attached here. The views are empty unless it is RAM. */
export class AttachedRange {
  readonly range: PaRange;
  readonly startPfn: number;
  readonly endPfn: number;
  readonly isRam: boolean;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly longs: BigInt64Array;
  readonly #doorbell: DoorbellTable | undefined;
  readonly #gate: BarGate | undefined;

  constructor(range: PaRange) {
    if (
      range.start % PAGE_SIZE !== 0 ||
      range.size % PAGE_SIZE !== 0 ||
      range.size <= 0 ||
      range.start + range.size > 2 ** 52
    ) {
      throw new RangeError(`bad physical range ${hex(range.start)}+${hex(range.size)}`);
    }
    this.range = range;
    this.startPfn = range.start / PAGE_SIZE;
    this.endPfn = (range.start + range.size) / PAGE_SIZE;
    this.isRam = range.kind === 'ram';
    const buffer = range.kind === 'ram' ? range.buffer : new SharedArrayBuffer(0);
    const { byteLength } = buffer;
    if (range.kind === 'ram' && byteLength < range.size) throw new RangeError('buffer is shorter than its range');
    this.bytes = new Uint8Array(buffer);
    this.words = new Int32Array(buffer, 0, Math.floor(byteLength / 4));
    this.longs = new BigInt64Array(buffer, 0, Math.floor(byteLength / 8));
    this.#doorbell = range.kind === 'doorbell' ? new DoorbellTable(range.interrupts) : undefined;
    this.#gate = range.kind === 'bar' ? new BarGate(range.gate) : undefined;
  }

  /** Copies bytes at `at` out of the range; at + dst.length ≤ size. False when nobody answers now. */
  read(at: number, dst: Uint8Array): boolean {
    if (this.isRam) {
      dst.set(this.bytes.subarray(at, at + dst.length));
      return true;
    }
    const { range } = this;
    switch (range.kind) {
      case 'bar':
        if (!this.#gate!.open()) return false;
        readFileMemory(range.fd, at, dst);
        return true;
      case 'process':
        readProcess(range.memFd, range.vaddr + at, dst);
        return true;
    }
    dst.fill(0); // a doorbell reads as 0, as an interrupt file of IMSIC does
    return true;
  }

  /** Copies bytes into the range, as read. A doorbell takes 32-bit stores only and ignores others. */
  write(at: number, src: Uint8Array): boolean {
    if (this.isRam) {
      this.bytes.set(src, at);
      return true;
    }
    const { range } = this;
    switch (range.kind) {
      case 'bar':
        if (!this.#gate!.open()) return false;
        writeFileMemory(range.fd, at, src);
        return true;
      case 'process':
        writeProcess(range.memFd, range.vaddr + at, src);
        return true;
    }
    if (src.length === 4 && at % 4 === 0)
      this.#doorbell?.ring((src[0]! | (src[1]! << 8) | (src[2]! << 16) | (src[3]! << 24)) >>> 0);
    return true;
  }

  /** Single-copy atomic; `at` is a multiple of 4. Undefined when nobody answers now. */
  read32(at: number): number | undefined {
    if (this.isRam) return Atomics.load(this.words, at / 4) >>> 0;
    const word = new Uint8Array(4);
    return this.read(at, word) ? new DataView(word.buffer).getUint32(0, true) : undefined;
  }

  /** Single-copy atomic; `at` is a multiple of 4. False when nobody answers now. */
  write32(at: number, value: number): boolean {
    if (this.isRam) {
      Atomics.store(this.words, at / 4, value);
      return true;
    }
    if (this.#doorbell) {
      this.#doorbell.ring(value >>> 0);
      return true;
    }
    const word = new Uint8Array(4);
    new DataView(word.buffer).setUint32(0, value, true);
    return this.write(at, word);
  }
}

/** One thread's view of the physical address space. */
export class PhysicalMemory {
  readonly #port: MessagePort | undefined;
  /** Sorted by startPfn; they do not overlap. */
  readonly #ranges: AttachedRange[] = [];
  #last: AttachedRange | undefined;
  readonly #detachListeners: (() => void)[] = [];

  constructor(ranges: readonly PaRange[], port?: MessagePort) {
    this.#port = port;
    for (const range of ranges) this.attach(range);
  }

  attach(range: PaRange): void {
    const attached = new AttachedRange(range);
    const at = this.#indexOf(attached.startPfn);
    const next = this.#ranges[at];
    if (next && next.startPfn < attached.endPfn) {
      throw new RangeError(`physical range ${hex(range.start)} overlaps one that is attached`);
    }
    this.#ranges.splice(at, 0, attached);
  }

  detach(start: number): void {
    const at = this.#indexOf(start / PAGE_SIZE);
    if (this.#ranges[at]?.range.start === start) this.#ranges.splice(at, 1);
    this.#last = undefined;
    for (const forget of this.#detachListeners) forget();
  }

  /** Whoever keeps an AttachedRange drops it when this is called. */
  onDetach(forget: () => void): void {
    this.#detachListeners.push(forget);
  }

  /** Takes note of all changes that were posted so far. */
  poll(): void {
    if (!this.#port) return;
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { message: PhysicalChange } | undefined;
      if (!received) return;
      const { message } = received;
      if ('attach' in message) this.attach(message.attach);
      else this.detach(message.detach);
    }
  }

  /** The range of `pfn`, after draining the port: for a pfn out of an entry just read. 0.1 µs when nothing has changed. */
  resolve(pfn: number): AttachedRange | undefined {
    this.poll();
    return this.#lookup(pfn);
  }

  /**
   * The range of `pfn`; a miss drains the port and looks again. For memory whose pa is never given to something else while
   * in use here: tables, queues.
   */
  find(pfn: number): AttachedRange | undefined {
    return this.#lookup(pfn) ?? this.resolve(pfn);
  }

  // HOT (3–4 times per table walk)
  #lookup(pfn: number): AttachedRange | undefined {
    const last = this.#last;
    if (last !== undefined && pfn >= last.startPfn && pfn < last.endPfn) return last;
    const range = this.#ranges[this.#indexOf(pfn)];
    if (range === undefined || pfn < range.startPfn) return undefined;
    this.#last = range;
    return range;
  }

  /** Of the first range that does not end at or before `pfn`. */
  #indexOf(pfn: number): number {
    const ranges = this.#ranges;
    let low = 0;
    let high = ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (ranges[middle]!.endPfn <= pfn) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Reads [pa, pa + dst.length). False, and nothing read, when it is not inside one range. */
  read(pa: number, dst: Uint8Array): boolean {
    const range = this.#inside(pa, dst.length);
    return range?.read(pa - range.range.start, dst) ?? false;
  }

  write(pa: number, src: Uint8Array): boolean {
    const range = this.#inside(pa, src.length);
    return range?.write(pa - range.range.start, src) ?? false;
  }

  /** An aligned 32-bit read; undefined where nothing answers. */
  read32(pa: number): number | undefined {
    const range = this.find(Math.floor(pa / PAGE_SIZE));
    return range?.read32(pa - range.range.start);
  }

  write32(pa: number, value: number): boolean {
    const range = this.find(Math.floor(pa / PAGE_SIZE));
    return range?.write32(pa - range.range.start, value) ?? false;
  }

  #inside(pa: number, length: number): AttachedRange | undefined {
    const range = this.find(Math.floor(pa / PAGE_SIZE));
    return range && pa + length <= range.range.start + range.range.size ? range : undefined;
  }
}

function readProcess(memFd: number, vaddr: number, dst: Uint8Array): void {
  let done = 0;
  try {
    done = pread(memFd, dst, vaddr);
  } catch (error) {
    if (!isGone(error)) throw error;
  }
  dst.fill(0, done);
}

function writeProcess(memFd: number, vaddr: number, src: Uint8Array): void {
  try {
    pwrite(memFd, src, vaddr);
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

/** The address space is dead, or its owner has unmapped the page: a real pin would have kept the old page, unseen by anybody. */
const isGone = (error: unknown): boolean =>
  error instanceof SysError && (error.code === 'EIO' || error.code === 'ESRCH' || error.code === 'EFAULT');
