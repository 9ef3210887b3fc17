/**
 * The set-up of the VFIO benches: a host process, a container with its first device's group, and
 * RAM to map.
 */
import { close } from '../../platform/libc/fd.ts';
import { createMemory, Mapping } from '../../platform/memory.ts';
import { openContainer } from '../../vmm/client/container.ts';
import { describeDevice, enableDevice, VfioDevice } from '../../vmm/client/device.ts';
import { type DmaMapping, mapDma, unmapDma } from '../../vmm/client/dma.ts';
import { openDevice } from '../../vmm/client/group.ts';
import { KernelClient } from '../../vmm/client/kernel-client.ts';
import { HostProcess, type HostReady } from '../launch/host.ts';

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
  readonly #bdf: string;
  readonly #group: number;

  constructor({ socket, devices }: HostReady, ram: Mapping) {
    const [{ bdf, group }] = devices as [HostReady['devices'][number]];
    this.client = new KernelClient(socket);
    const { fd, groups } = openContainer(this.client, [group]);
    this.container = fd;
    this.ram = ram;
    this.#bdf = bdf;
    this.#group = groups[0]!;
  }

  /** Opens the device, with memory decoding and bus master on. */
  openDevice(): VfioDevice {
    const fd = openDevice(this.client, this.#group, this.#bdf);
    enableDevice(this.client, fd);
    return new VfioDevice(describeDevice(this.client, fd, this.#bdf), this.client);
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
 * Does `work` with `ramBytes` of RAM on a host with one device, an edu behind its IOMMU by default,
 * and ends that host. `options` are those of `livevmm host`.
 */
export async function onBenchHost<T>(
  setUp: { readonly ramBytes: number; readonly device?: string; readonly options?: readonly string[] },
  work: (host: BenchHost) => T | Promise<T>,
): Promise<T> {
  const { ramBytes, device = 'edu', options = [] } = setUp;
  const host = await HostProcess.start([device], options);
  const fd = createMemory('bench', ramBytes);
  const ram = new Mapping(fd, ramBytes);
  try {
    return await work(new BenchHost(host, ram));
  } finally {
    ram.release();
    close(fd);
    await host.stop();
  }
}
