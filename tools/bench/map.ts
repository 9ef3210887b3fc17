/** MAP_DMA and UNMAP_DMA of a memfd through the socket of a real host process. */
import {
  DmaMap,
  DmaUnmap,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
} from '../../iommu/kernel/vfio/uapi.ts';
import { close } from '../../platform/libc.ts';
import { createMemory, Mapping, PAGE_SIZE } from '../../platform/memory.ts';
import { KernelClient } from '../../vmm/vfio/client.ts';
import { Container } from '../../vmm/vfio/container.ts';
import { startHostProcess } from '../demo/machine.ts';
import { type Figure, median } from './result.ts';

const MiB = 2 ** 20;
const GiB = 2 ** 30;
const ROUNDS = 21;
const PAIRS = 2000;
/** Iova of the pairs, above all else and below the end of a 39-bit aperture. */
const PAIR_IOVA = 256 * GiB;

/** One mapping more or less of RAM that begins at `vaddr`. */
class Mapper {
  readonly #client: KernelClient;
  readonly #container: number;
  readonly #vaddr: number;

  constructor(client: KernelClient, container: number, vaddr: number) {
    this.#client = client;
    this.#container = container;
    this.#vaddr = vaddr;
  }

  map(iova: number, offset: number, size: number): void {
    const flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    const vaddr = BigInt(this.#vaddr + offset);
    const map = { argsz: DmaMap.size, flags, vaddr, iova: BigInt(iova), size: BigInt(size) };
    this.#client.ioctl(this.#container, VFIO_IOMMU_MAP_DMA, DmaMap.bytes(map));
  }

  unmap(iova: number, size: number): void {
    const unmap = { argsz: DmaUnmap.size, flags: 0, iova: BigInt(iova), size: BigInt(size) };
    this.#client.ioctl(this.#container, VFIO_IOMMU_UNMAP_DMA, DmaUnmap.bytes(unmap));
  }

  /** Median microseconds of a map and unmap of `size` bytes. */
  roundTripUs(size: number): number {
    return median(
      Array.from({ length: ROUNDS }, () => {
        const start = performance.now();
        this.map(2 * GiB, 0, size);
        this.unmap(2 * GiB, size);
        return (performance.now() - start) * 1000;
      }),
    );
  }

  /** 4 KiB map and unmap pairs per second. */
  pairsPerSecond(): number {
    const start = performance.now();
    for (let pair = 0; pair < PAIRS; pair++) {
      this.map(PAIR_IOVA, 0, PAGE_SIZE);
      this.unmap(PAIR_IOVA, PAGE_SIZE);
    }
    return (PAIRS * 1000) / (performance.now() - start);
  }
}

export async function benchMap(progress: (text: string) => void): Promise<Figure[]> {
  progress('starting a host');
  const host = await startHostProcess(['edu']);
  const fd = createMemory('bench', GiB);
  try {
    const client = new KernelClient(host.socket);
    const container = new Container(client);
    container.addGroup(host.devices[0]!.group);
    const mapper = new Mapper(client, container.fd, new Mapping(fd, GiB).vaddr);
    // As under a VMM: some of the object stays mapped all the time, so the board knows it.
    mapper.map(0, 0, PAGE_SIZE);
    progress('2 MiB, 64 MiB, 1 GiB');
    mapper.pairsPerSecond(); // both sides are compiled by then
    const [small, medium, large] = [2 * MiB, 64 * MiB, GiB].map((size) => mapper.roundTripUs(size)) as [
      number,
      number,
      number,
    ];
    const rates: number[] = [];
    let present = 1;
    for (const wanted of [1, 1000, 60_000]) {
      progress(`4 KiB pairs beside ${wanted} mappings`);
      for (; present < wanted; present++) mapper.map(present * 2 * PAGE_SIZE, present * PAGE_SIZE, PAGE_SIZE);
      rates.push(mapper.pairsPerSecond());
    }
    client.close(container.fd);
    return [
      { what: 'MAP_DMA + UNMAP_DMA, 2 MiB', value: small, unit: 'µs' },
      { what: 'MAP_DMA + UNMAP_DMA, 64 MiB', value: medium, unit: 'µs' },
      { what: 'MAP_DMA + UNMAP_DMA, 1 GiB', value: large, unit: 'µs' },
      { what: 'MAP_DMA + UNMAP_DMA, 1 GiB / 2 MiB', value: large / small, unit: '×' },
      { what: '4 KiB map + unmap, no other mapping', value: rates[0]!, unit: 'pairs/s' },
      { what: '4 KiB map + unmap, 1000 mappings', value: rates[1]!, unit: 'pairs/s' },
      { what: '4 KiB map + unmap, 60000 mappings', value: rates[2]!, unit: 'pairs/s' },
      { what: '4 KiB map + unmap, 60000 / no other', value: rates[2]! / rates[0]!, unit: '×' },
    ];
  } finally {
    close(fd);
    await host.stop();
  }
}
