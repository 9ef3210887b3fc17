/**
 * Translated DMA through an IOMMU unit against plain copies on the same shared memory, in one
 * thread.
 */
import { createPortCounters, readPortCounters } from '../../iommu/bus/counters.ts';
import { createDoorbellTable } from '../../iommu/bus/interrupts.ts';
import { PhysicalMemory } from '../../iommu/bus/physical.ts';
import { DmaPort } from '../../iommu/hardware/port.ts';
import { IommuUnit } from '../../iommu/hardware/unit.ts';
import { createUnit } from '../../iommu/hardware/unit-memory.ts';
import { IOMMU_READ, IOMMU_WRITE } from '../../iommu/kernel/driver/domain.ts';
import { RiscvIommu } from '../../iommu/kernel/driver/riscv-iommu.ts';
import { close } from '../../platform/libc/fd.ts';
import { createMemory, Mapping } from '../../platform/memory.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../../platform/page.ts';
import { type Figure, median, type Progress } from './result.ts';

const MiB = 2 ** 20;
const GiB = 2 ** 30;
const RAM_BYTES = 64 * MiB;
const RAM_PA = 4 * GiB;
const KERNEL_RAM = { start: GiB, size: 16 * MiB };
const DOORBELL = { start: 2 * GiB, size: PAGE_SIZE };
const DID = 0x10;
/** First page of the iova range: not the same as the pa. */
const VPN = (8 * GiB) / PAGE_SIZE;

/** Transfers of one size go round in this much memory. */
const WINDOW = 4 * MiB;
const ROUNDS = 15;
const ROUND_BYTES = 64 * MiB;
/** Small transfers cost by the piece. */
const ROUND_PIECES = 200_000;

function map(size: number): SharedArrayBuffer {
  const fd = createMemory('bench', size);
  const { buffer } = new Mapping(fd, size);
  close(fd);
  return buffer;
}

/**
 * A unit whose port for DID finds RAM_BYTES of memory at iova VPN, in leaves of up to 2^maxPgshift
 * bytes.
 */
function translatedRam(maxPgshift: 12 | 30) {
  const ram = map(RAM_BYTES);
  const physical = new PhysicalMemory([
    { kind: 'ram', ...KERNEL_RAM, buffer: map(KERNEL_RAM.size) },
    { kind: 'ram', start: RAM_PA, size: RAM_BYTES, buffer: ram },
    { kind: 'doorbell', ...DOORBELL, interrupts: createDoorbellTable() },
  ]);
  const unitMemory = createUnit({ agents: 1 });
  const wire = (): void => {};
  const unit = new IommuUnit(unitMemory, physical, wire);
  const driver = new RiscvIommu({ unit, physical, kernelRam: KERNEL_RAM, doorbell: DOORBELL, maxPgshift });
  const domain = driver.allocDomain();
  domain.map(VPN, RAM_PA / PAGE_SIZE, RAM_BYTES / PAGE_SIZE, IOMMU_READ | IOMMU_WRITE);
  driver.attach(DID, domain);
  const counters = createPortCounters();
  const port = new DmaPort({ unit: unitMemory, agent: 0, did: DID, physical, wire, counters });
  return { bytes: new Uint8Array(ram), port, counters };
}

const elapsed = (work: () => void): number => {
  const start = performance.now();
  work();
  return performance.now() - start;
};

/** Speed of DMA writes of `size` bytes as a part of the speed of `set`. */
function writeRatio(size: number): number {
  const { bytes, port, counters } = translatedRam(30);
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
  return median(ratios);
}

/** What a table walk adds to a 64-byte write, in µs. */
function missUs(): number {
  const { port, counters } = translatedRam(12);
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
