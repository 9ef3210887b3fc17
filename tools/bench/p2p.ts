/**
 * DMA that ends in another device's BAR: memory of a BAR against plain memory, in one thread; and
 * accesses to registers, which the other device's worker makes, between two edus of a real host.
 */
import { readPortCounters } from '../../iommu/bus/counters.ts';
import { close } from '../../platform/libc/fd.ts';
import { MAP_SHARED, PROT_READ, PROT_WRITE } from '../../platform/libc/mmap.ts';
import { createMemory, Mapping } from '../../platform/memory.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../../platform/page.ts';
import { joinContainer, openContainer } from '../../vmm/client/container.ts';
import { enableDevice, getRegion } from '../../vmm/client/device.ts';
import { mapDma } from '../../vmm/client/dma.ts';
import { Edu } from '../../vmm/client/drivers/edu.ts';
import { openDevice } from '../../vmm/client/group.ts';
import { KernelClient } from '../../vmm/client/kernel-client.ts';
import { RegionRegisters } from '../../vmm/client/registers.ts';
import { HostProcess } from '../launch/host.ts';
import { elapsed, type Figure, median, type Progress } from './result.ts';
import { BAR_BYTES, BAR_VPN, RAM_VPN, translatedMemory } from './translated-memory.ts';

const ROUNDS = 15;
const ROUND_BYTES = 16 * 2 ** 20;

/** Time of DMA writes of `size` bytes into a BAR of memory, as a multiple of those into memory. */
function barRatio(size: number): number {
  const { port, counters, release } = translatedMemory(30);
  const source = new Uint8Array(size).fill(0xa5);
  const write = (vpn: number) => (): void => {
    for (let done = 0, at = 0; done < ROUND_BYTES; done += size) {
      port.write(vpn + (at >>> PAGE_SHIFT), 0, source);
      at = (at + size) % BAR_BYTES;
    }
    port.idle();
  };
  const toBar = write(BAR_VPN);
  const toRam = write(RAM_VPN);
  toBar();
  toRam();
  const ratios = Array.from({ length: ROUNDS }, () => elapsed(toBar) / elapsed(toRam));
  const { faults, unsupported } = readPortCounters(counters);
  if (faults + unsupported > 0) throw new Error('P2P bench: some accesses were refused');
  release();
  return median(ratios);
}

/** Accesses of one transfer of 4 KiB to registers. */
const ACCESSES = PAGE_SIZE / 8;
const REGISTERS_IOVA = 0x10_0000;

/** µs of an access of 8 bytes to another device's registers. */
async function registerUs(): Promise<number> {
  const host = await HostProcess.start(['edu,dma-latency-ms=0', 'edu']);
  const fd = createMemory('bench', PAGE_SIZE);
  const ram = new Mapping(fd, PAGE_SIZE);
  try {
    const client = new KernelClient(host.socket);
    const [engine, other] = host.devices;
    const { fd: container, groups } = openContainer(client, [engine!.group]);
    const device = openDevice(client, groups[0]!, engine!.bdf);
    const peer = openDevice(client, joinContainer(client, other!.group, container), other!.bdf);
    enableDevice(client, device);
    const { offset } = getRegion(client, peer, 0);
    const prot = PROT_READ | PROT_WRITE;
    const vaddr = client.mmap({ fd: peer, offset, length: PAGE_SIZE, prot, flags: MAP_SHARED });
    mapDma(client, container, { iova: 0, size: PAGE_SIZE, vaddr: ram.vaddr });
    mapDma(client, container, { iova: REGISTERS_IOVA, size: PAGE_SIZE, vaddr });
    const edu = new Edu(new RegionRegisters(client, device, getRegion(client, device, 0).offset));
    const transfer = (iova: number): number => elapsed(() => edu.readBus(iova, PAGE_SIZE));
    transfer(REGISTERS_IOVA);
    const costs = Array.from({ length: ROUNDS }, () => transfer(REGISTERS_IOVA) - transfer(0));
    return (median(costs) * 1000) / ACCESSES;
  } finally {
    ram.release();
    close(fd);
    await host.stop();
  }
}

export async function benchP2p(progress: Progress): Promise<Figure[]> {
  await progress('memory of a BAR');
  const small = barRatio(4096);
  const large = barRatio(65536);
  await progress('registers');
  return [
    { what: 'DMA write of 4 KiB to a BAR / to memory', value: small, unit: '×' },
    { what: 'DMA write of 64 KiB to a BAR / to memory', value: large, unit: '×' },
    { what: 'DMA access to registers of another device', value: await registerUs(), unit: 'µs' },
  ];
}
