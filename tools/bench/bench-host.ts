/** What the VFIO benches measure on: a host process, a container with its first device's group, and RAM to map. */
import { close } from '../../platform/libc.ts';
import { createMemory, Mapping } from '../../platform/memory.ts';
import { Container } from '../../vmm/client/container.ts';
import { KernelClient } from '../../vmm/client/kernel-client.ts';
import { startHostProcess } from '../launch/machine.ts';
import { Mapper } from './mapper.ts';

export interface BenchHost {
  readonly client: KernelClient;
  readonly container: Container;
  readonly ram: Mapping;
  readonly mapper: Mapper;
}

/** Does `work` with `ramBytes` of RAM on a host with an edu behind its IOMMU, and ends that host. `options` are those of `livevmm host`. */
export async function onBenchHost<T>(
  { ramBytes, options = [] }: { readonly ramBytes: number; readonly options?: readonly string[] },
  work: (host: BenchHost) => T | Promise<T>,
): Promise<T> {
  const host = await startHostProcess(['edu'], options);
  const fd = createMemory('bench', ramBytes);
  const ram = new Mapping(fd, ramBytes);
  try {
    const client = new KernelClient(host.socket);
    const container = new Container(client);
    container.addGroup(host.devices[0]!.group);
    return await work({ client, container, ram, mapper: new Mapper(client, container.fd, ram) });
  } finally {
    ram.release();
    close(fd);
    await host.stop();
  }
}
