/**
 * The set-up of the VFIO benches: a host process, a container with its first device's group, and
 * RAM to map.
 */
import { close } from '../../platform/libc/fd.ts';
import { createMemory, Mapping } from '../../platform/memory.ts';
import { openContainer } from '../../vmm/client/container.ts';
import { type DmaMapping, mapDma, unmapDma } from '../../vmm/client/dma.ts';
import { KernelClient } from '../../vmm/client/kernel-client.ts';
import { HostProcess } from '../launch/host.ts';

/** [iova, iova+size) and the bytes of RAM from `offset` on. */
export interface RamRange {
  readonly iova: number;
  readonly offset: number;
  readonly size: number;
}

export class BenchHost {
  readonly client: KernelClient;
  readonly container: number;
  readonly ram: Mapping;

  constructor(socketPath: string, group: number, ram: Mapping) {
    this.client = new KernelClient(socketPath);
    this.container = openContainer(this.client, [group]).fd;
    this.ram = ram;
  }

  mappingOf({ iova, offset, size }: RamRange): DmaMapping {
    return { iova, size, vaddr: this.ram.vaddr + offset };
  }

  map(range: RamRange): void {
    mapDma(this.client, this.container, this.mappingOf(range));
  }

  unmap(iova: number, size: number): void {
    unmapDma(this.client, this.container, { iova, size });
  }
}

/**
 * Does `work` with `ramBytes` of RAM on a host with an edu behind its IOMMU, and ends that host.
 * `options` are those of `livevmm host`.
 */
export async function onBenchHost<T>(
  { ramBytes, options = [] }: { readonly ramBytes: number; readonly options?: readonly string[] },
  work: (host: BenchHost) => T | Promise<T>,
): Promise<T> {
  const host = await HostProcess.start(['edu'], options);
  const fd = createMemory('bench', ramBytes);
  const ram = new Mapping(fd, ramBytes);
  try {
    return await work(new BenchHost(host.socket, host.devices[0]!.group, ram));
  } finally {
    ram.release();
    close(fd);
    await host.stop();
  }
}
