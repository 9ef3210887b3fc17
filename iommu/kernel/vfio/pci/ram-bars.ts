/**
 * The BARs of a function that are memory. Their bytes are in objects that clients map.
 * vfio_pci_zap_bars (PCI-8) takes the bytes away from all these mappings at once: here the objects
 * are truncated to nothing, so that an access is a SIGBUS. Later the objects get their bytes back,
 * and the same mappings show them again (PCI-7). DEVIATION: a store of a CPU or a device that is
 * under way at the truncation may get lost. A real BAR would either take the store or fault.
 */
import { dataExtent, ftruncate, pread, pwrite } from '../../../../platform/libc/file-bytes.ts';
import { BarGate } from '../../../bus/bar-gate.ts';
import { readFileMemory, writeFileMemory } from '../../../bus/file-memory.ts';
import type { PciFunction, RamBar } from '../../../bus/pci-function.ts';

const CHUNK = 2 ** 20;

/** The bytes of a withdrawn BAR. Bytes that no chunk covers are 0. */
interface Stash {
  readonly bar: RamBar;
  readonly chunks: readonly { readonly at: number; readonly bytes: Uint8Array }[];
}

export class RamBars {
  readonly #bars: readonly RamBar[];
  readonly #gate: BarGate;
  readonly #fence: () => void;
  #stashes: readonly Stash[] | undefined;

  /** `fence` returns when all DMA that began before the call, of any device, has ended. */
  constructor({ ramBars, barGate }: PciFunction, fence: () => void) {
    this.#bars = ramBars;
    this.#gate = new BarGate(barGate);
    this.#fence = fence;
  }

  /** The object of BAR `index`, if that BAR is memory. */
  fd(index: number): number | undefined {
    return this.#bars.find(({ bar }) => bar === index)?.fd;
  }

  read(index: number, offset: number, into: Uint8Array): void {
    readFileMemory(this.fd(index)!, offset, into);
  }

  write(index: number, offset: number, data: Uint8Array): void {
    writeFileMemory(this.fd(index)!, offset, data);
  }

  /**
   * Withdraws the BARs: no mapping and no DMA reaches them until restore(), nor does DMA reach the
   * function's registers. No effect the second time.
   */
  withdraw(): void {
    if (this.#stashes) return;
    this.#gate.setWithdrawn(true);
    this.#fence();
    this.#stashes = this.#bars.map((bar) => ({ bar, chunks: readChunks(bar) }));
    for (const { fd } of this.#bars) ftruncate(fd, 0);
  }

  /** Gives withdrawn BARs their bytes back. No effect when the BARs are not withdrawn. */
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
 * Reads the bytes of the pages that the object has. Each MiB of them costs 0.4 ms; holes cost
 * nothing. A client that has the object may have truncated it: those bytes are lost for all
 * clients.
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
