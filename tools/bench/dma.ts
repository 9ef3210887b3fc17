/**
 * Translated DMA through an IOMMU unit against plain copies on the same shared memory, in one
 * thread.
 */
import { readPortCounters } from '../../iommu/bus/counters.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../../platform/page.ts';
import { elapsed, type Figure, median, type Progress } from './result.ts';
import { RAM_BYTES, translatedMemory, RAM_VPN as VPN } from './translated-memory.ts';

const MiB = 2 ** 20;

/** Transfers of one size go round in this much memory. */
const WINDOW = 4 * MiB;
const ROUNDS = 15;
const ROUND_BYTES = 64 * MiB;
/** Small transfers cost by the piece. */
const ROUND_PIECES = 200_000;

/** Speed of DMA writes of `size` bytes as a part of the speed of `set`. */
function writeRatio(size: number): number {
  const { bytes, port, counters, release } = translatedMemory(30);
  const source = new Uint8Array(size).fill(0xa5);
  const pieces = Math.min(ROUND_PIECES, ROUND_BYTES / size);
  const plain = (): void => {
    for (let piece = 0, at = 0; piece < pieces; piece++) {
      bytes.set(source, at);
      at = (at + size) % WINDOW;
    }
  };
  const dma = (): void => {
    for (let piece = 0, at = 0; piece < pieces; piece++) {
      port.write(VPN + (at >>> PAGE_SHIFT), at & (PAGE_SIZE - 1), source);
      at = (at + size) % WINDOW;
    }
    port.idle();
  };
  plain();
  dma();
  const { misses } = readPortCounters(counters);
  const ratios = Array.from({ length: ROUNDS }, () => elapsed(plain) / elapsed(dma));
  const after = readPortCounters(counters);
  if (after.faults + after.unsupported > 0 || after.misses > misses)
    throw new Error('DMA bench: not all accesses were IOTLB hits');
  release();
  return median(ratios);
}

/** What a table walk adds to a 64-byte write, in µs. */
function missUs(): number {
  const { port, counters, release } = translatedMemory(12);
  const source = new Uint8Array(64);
  const round = (pages: number): void => {
    for (let piece = 0; piece < ROUND_PIECES; piece++) port.write(VPN + (piece % pages), 0, source);
    port.idle();
  };
  const hits = 512; // fewer than the IOTLB holds
  const all = RAM_BYTES / PAGE_SIZE; // gone round in order, each is evicted before it comes again
  round(hits);
  round(all);
  const costs = Array.from({ length: ROUNDS }, () => {
    const hitMs = elapsed(() => round(hits));
    const before = readPortCounters(counters).misses;
    const missMs = elapsed(() => round(all));
    // all but those that the hits before have cached
    const misses = readPortCounters(counters).misses - before;
    if (misses < 0.99 * ROUND_PIECES) throw new Error('DMA bench: not all accesses were misses');
    return ((missMs - hitMs) * 1000) / misses;
  });
  release();
  return median(costs);
}

const SIZES: readonly { readonly size: number; readonly name: string; readonly atLeast: number }[] = [
  { size: 64, name: '64 B', atLeast: 0.4 },
  { size: 4096, name: '4 KiB', atLeast: 0.8 },
  { size: 65536, name: '64 KiB', atLeast: 0.9 },
  { size: MiB, name: '1 MiB', atLeast: 0.9 },
];

export async function benchDma(progress: Progress): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const { size, name, atLeast } of SIZES) {
    await progress(`writes of ${name}`);
    figures.push({ what: `DMA write of ${name} / plain set`, value: writeRatio(size), unit: '×', atLeast });
  }
  await progress('IOTLB misses');
  figures.push({ what: 'IOTLB miss (3-level walk)', value: missUs(), unit: 'µs', atMost: 1 });
  return figures;
}
