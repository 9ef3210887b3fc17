/**
 * The BARs of a function that are memory. Their bytes are in objects which clients map; to take
 * them away from all those mappings at once (vfio_pci_zap_bars; PCI-8) the objects are cut off to
 * nothing, so that an access is a SIGBUS, and given their bytes back later: the same mappings show
 * them again (PCI-7). DEVIATION: a store of a CPU or a device that is under way at that moment may
 * get lost, where a real BAR would either take it or fault.
 */
import { dataExtent, ftruncate, pread, pwrite } from '../../../../platform/libc.ts';
import { BarGate } from '../../../bus/bar-gate.ts';
import { readFileMemory, writeFileMemory } from '../../../bus/file-memory.ts';
import type { PciFunction, RamBar } from '../../../bus/pci-function.ts';

const CHUNK = 2 ** 20;

/** The bytes of a withdrawn BAR; what no chunk covers is 0. */
interface Stash {
  readonly bar: RamBar;
  readonly chunks: readonly { readonly at: number; readonly bytes: Uint8Array }[];
}

export class RamBars {
  readonly #bars: readonly RamBar[];
  readonly #gate: BarGate;
  readonly #fence: () => void;
  #stashes: readonly Stash[] | undefined;

  /** `fence` returns when no DMA of any device is under way that began before. */
  constructor({ ramBars, barGate }: PciFunction, fence: () => void) {
    this.#bars = ramBars;
    this.#gate = new BarGate(barGate);
    this.#fence = fence;
  }

  /** The object of BAR `index`, if it is memory. */
  fd(index: number): number | undefined {
    return this.#bars.find(({ bar }) => bar === index)?.fd;
  }

  read(index: number, offset: number, into: Uint8Array): void {
    readFileMemory(this.fd(index)!, offset, into);
  }

  write(index: number, offset: number, data: Uint8Array): void {
    writeFileMemory(this.fd(index)!, offset, data);
  }

  /** No mapping and no DMA reaches them until restore(). No effect the second time. */
  withdraw(): void {
    if (this.#stashes || this.#bars.length === 0) return;
    this.#gate.setWithdrawn(true);
    this.#fence();
    this.#stashes = this.#bars.map((bar) => ({ bar, chunks: readChunks(bar) }));
    for (const { fd } of this.#bars) ftruncate(fd, 0);
  }

  /** No effect when they are not withdrawn. */
  restore(): void {
    for (const { bar, chunks } of this.#stashes ?? []) {
      // From the start, so that a page is never there without its bytes.
      for (const { at, bytes } of chunks) pwrite(bar.fd, bytes, at);
      ftruncate(bar.fd, bar.size);
    }
    this.#stashes = undefined;
    this.#gate.setWithdrawn(false);
  }
}

/**
 * What there is, by the pages that the object has: 0.4 ms for each MiB of them, and nothing for the
 * rest. A client that has the object may have cut it off itself: those bytes are lost to everybody.
 */
function readChunks({ fd, size }: RamBar): Stash['chunks'] {
  const chunks = [];
  for (let at = 0; at < size; ) {
    const data = dataExtent(fd, at);
    if (!data || data.start >= size) break;
    at = Math.min(data.end, size, data.start + CHUNK);
    const bytes = new Uint8Array(at - data.start);
    chunks.push({ at: data.start, bytes: bytes.subarray(0, pread(fd, bytes, data.start)) });
  }
  return chunks;
}
