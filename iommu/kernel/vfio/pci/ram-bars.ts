/**
 * The BARs of a function that are memory. Their bytes are in an object that clients map.
 * vfio_pci_zap_bars (PCI-8) takes the bytes away from all these mappings at once: here the object
 * is truncated to nothing, so that an access is a SIGBUS. Later the object gets its bytes back, and
 * the same mappings show them again (PCI-7). Bytes that other functions have, too, are not in that
 * object: no client has them, so the gate and the file's own checks are enough. DEVIATION: a store
 * of a CPU or a device that is under way at the truncation may get lost. A real BAR would either
 * take the store or fault.
 */
import { fstatSync } from 'node:fs';

import { dataExtent, ftruncate, pread, pwrite } from '../../../../platform/libc/file-bytes.ts';
import { wholePages } from '../../../../platform/page.ts';
import { BarGate } from '../../../bus/bar-gate.ts';
import { readFileMemory, writeFileMemory } from '../../../bus/file-memory.ts';
import { objectSize, type PciFunction, type RamBar } from '../../../bus/pci-function.ts';

const CHUNK = 2 ** 20;
/** The unit of st_blocks. */
const BLOCK_BYTES = 512;

/** Bytes of a withdrawn BAR, and their place in the object. Bytes that no chunk covers are 0. */
interface Chunk {
  readonly at: number;
  readonly bytes: Uint8Array;
}

export class RamBars {
  readonly #object: number;
  readonly #bars: readonly RamBar[];
  /** Those with bytes in the function's object. */
  readonly #own: readonly RamBar[];
  readonly #gate: BarGate;
  readonly #fence: () => void;
  /** Those of each BAR, while they are withdrawn. */
  #stashes: readonly (readonly Chunk[])[] | undefined;

  /** `fence` returns when all DMA that began before the call, of any device, has ended. */
  constructor({ object, ramBars, barGate }: PciFunction, fence: () => void) {
    this.#object = object;
    this.#bars = ramBars;
    this.#own = ramBars.filter(({ shared }) => shared === undefined);
    this.#gate = new BarGate(barGate);
    this.#fence = fence;
  }

  /** Whether BAR `index` is memory. */
  has(index: number): boolean {
    return this.#find(index) !== undefined;
  }

  /** Whether the bytes of BAR `index` are in the function's object. */
  isInObject(index: number): boolean {
    return this.#own.some(({ bar }) => bar === index);
  }

  #find(index: number): RamBar | undefined {
    return this.#bars.find(({ bar }) => bar === index);
  }

  read(index: number, offset: number, into: Uint8Array): void {
    const { at, shared = this.#object } = this.#find(index)!;
    readFileMemory(shared, at + offset, into);
  }

  write(index: number, offset: number, data: Uint8Array): void {
    const { at, shared = this.#object } = this.#find(index)!;
    writeFileMemory(shared, at + offset, data);
  }

  /**
   * Withdraws the BARs: no mapping and no DMA reaches them until restore(), nor does DMA reach the
   * function's registers. No effect the second time.
   */
  withdraw(): void {
    if (this.#stashes) return;
    this.#gate.setWithdrawn(true);
    this.#fence();
    this.#stashes = this.#own.map((bar) => readChunks(this.#object, bar));
    if (this.#own.length > 0) ftruncate(this.#object, 0);
  }

  /** Gives withdrawn BARs their bytes back. No effect when the BARs are not withdrawn. */
  restore(): void {
    // From the start, so that a page is never there without its bytes.
    for (const { at, bytes } of this.#stashes?.flat() ?? []) pwrite(this.#object, bytes, at);
    if (this.#stashes && this.#own.length > 0) ftruncate(this.#object, objectSize(this.#own));
    this.#stashes = undefined;
    this.#gate.setWithdrawn(false);
  }

  /**
   * Nobody has the object any more, except by a mapping that has outlived its device. Its size is
   * what it was, and what clients have written beside the BARs is dropped, if it is more than the
   * BARs are large.
   */
  tidy(): void {
    const { size, blocks } = fstatSync(this.#object);
    const room = this.#own.reduce((sum, bar) => sum + wholePages(bar.size), 0);
    if (size === objectSize(this.#own) && blocks * BLOCK_BYTES <= room) return;
    this.withdraw();
    ftruncate(this.#object, 0);
    this.restore();
  }
}

/**
 * Reads the bytes of the pages that the object has. Each MiB of them costs 0.4 ms; holes cost
 * nothing. A client that has the object may have truncated it: those bytes are lost for all
 * clients.
 */
function readChunks(fd: number, bar: RamBar): Chunk[] {
  const chunks = [];
  const end = bar.at + bar.size;
  for (let at = bar.at; at < end; ) {
    const data = dataExtent(fd, at);
    if (!data || data.start >= end) break;
    at = Math.min(data.end, end, data.start + CHUNK);
    const bytes = new Uint8Array(at - data.start);
    chunks.push({ at: data.start, bytes: bytes.subarray(0, pread(fd, bytes, data.start)) });
  }
  return chunks;
}
