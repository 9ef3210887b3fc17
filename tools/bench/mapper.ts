/** MAP_DMA and UNMAP_DMA of RAM, one mapping at a time or many. */
import {
  DmaMap,
  DmaUnmap,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
} from '../../iommu/abi/vfio.ts';
import type { Mapping } from '../../platform/memory.ts';
import type { DmaRange } from '../../vmm/client/container.ts';
import type { KernelClient } from '../../vmm/client/kernel-client.ts';

const READ_WRITE = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;

export class Mapper {
  readonly #client: KernelClient;
  readonly #container: number;
  readonly #ram: Mapping;

  constructor(client: KernelClient, container: number, ram: Mapping) {
    this.#client = client;
    this.#container = container;
    this.#ram = ram;
  }

  map(range: DmaRange): void {
    this.#client.ioctl(this.#container, VFIO_IOMMU_MAP_DMA, this.#mapArg(range, READ_WRITE));
  }

  /** In as few requests as there can be. */
  mapAll(ranges: readonly DmaRange[]): void {
    const args = Buffer.concat(ranges.map((range) => this.#mapArg(range, READ_WRITE)));
    this.#client.ioctls(this.#container, VFIO_IOMMU_MAP_DMA, args, DmaMap.size);
  }

  /** MAP-6: its vaddr was invalid. */
  updateVaddr(range: DmaRange): void {
    this.#client.ioctl(this.#container, VFIO_IOMMU_MAP_DMA, this.#mapArg(range, VFIO_DMA_MAP_FLAG_VADDR));
  }

  unmap(iova: number, size: number): void {
    const unmap = { argsz: DmaUnmap.size, flags: 0, iova: BigInt(iova), size: BigInt(size) };
    this.#client.ioctl(this.#container, VFIO_IOMMU_UNMAP_DMA, DmaUnmap.bytes(unmap));
  }

  #mapArg({ iova, offset, size }: DmaRange, flags: number): Uint8Array {
    const vaddr = BigInt(this.#ram.vaddr + offset);
    return DmaMap.bytes({ argsz: DmaMap.size, flags, vaddr, iova: BigInt(iova), size: BigInt(size) });
  }
}
