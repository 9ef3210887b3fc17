/**
 * Bench of kexec: the pause of a guest and its part without a kernel, the gaps in the devices' DMA,
 * and MAP_DMA with LIVE_UPDATE against MAP_DMA that writes page tables.
 */
import { setTimeout as sleep } from 'node:timers/promises';

import { Mapping } from '../../platform/memory.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { joinContainer, openEmptyContainer, setIommu } from '../../vmm/client/container.ts';
import { type DmaMapping, mapDmas, READ_WRITE } from '../../vmm/client/dma.ts';
import { KernelClient } from '../../vmm/client/kernel-client.ts';
import { kexec } from '../../vmm/client/kexec.ts';
import {
  createPersistent,
  LIVE_UPDATE,
  openPersistent,
  setPersistentEntries,
  setPersistentTables,
} from '../../vmm/client/pkernfs.ts';
import { kexecUnder } from '../clients/kexec.ts';
import type { UpdateReport } from '../clients/live-update.ts';
import type { DeviceFacts } from '../demo/facts.ts';
import { Observer } from '../demo/observer.ts';
import { HostProcess } from '../launch/host.ts';
import { Machine } from '../launch/machine.ts';
import { guestPath } from '../launch/programs.ts';
import { elapsed, type Figure, median, type Progress } from './result.ts';

const MIB = 2 ** 20;
const KEXECS = 7;
/** Time between two kexecs, so that there is a window of DMA without one. */
const BETWEEN_MS = 1500;
const MAPS = 5;
/** Numbers of mappings. */
const MANY = [1000, 10_000];
const TYPE1V2 = 3;

export async function benchKexec(progress: Progress): Promise<Figure[]> {
  const { reports, devices } = await kexecs(progress);
  const of = (value: (report: UpdateReport) => number): number => median(reports.map(value));
  const before = median(devices.map(({ maxGapUsBefore }) => maxGapUsBefore));
  const during = median(devices.map(({ maxGapUsDuringPause }) => maxGapUsDuringPause));
  const large = await maps(progress, { mib: 1024, maxPage: '1G', pieces: 1 });
  const small = await maps(progress, { mib: 512, maxPage: '4K', pieces: 1 }); // more does not fit into a file of 2 MiB
  const many = [];
  for (const pieces of MANY) many.push({ pieces, ...(await maps(progress, { mib: 64, maxPage: '4K', pieces })) });
  return [
    { what: 'kexec pause, 1 capture device, 64 MiB', value: of(({ pauseMs }) => pauseMs), unit: 'ms' },
    { what: 'without a kernel', value: of(({ kexec: facts }) => facts!.kernelMs), unit: 'ms' },
    { what: 'end of the kernel to the first call to the next', value: of((one) => one.kexec!.firstCallMs), unit: 'ms' },
    { what: 'MAP_DMA of RAM in the pause', value: of(({ kexec: facts }) => facts!.mapMs), unit: 'ms' },
    { what: 'largest DMA gap, equal window before', value: before, unit: 'µs' },
    { what: 'largest DMA gap in the pause', value: during, unit: 'µs' },
    { what: 'largest DMA gap, pause / before', value: during / before, unit: '×', atMost: 2 },
    { what: 'MAP_DMA of 1 GiB, large pages', value: large.mapMs, unit: 'ms' },
    { what: 'MAP_DMA with LIVE_UPDATE of 1 GiB, large pages', value: large.claimMs, unit: 'ms' },
    { what: 'open container + MAP_DMA with LIVE_UPDATE, 1 GiB', value: large.reopenMs, unit: 'ms' },
    { what: 'open container with its mappings, 1 GiB', value: large.pickUpMs, unit: 'ms' },
    ...many.flatMap(({ pieces, reopenMs, pickUpMs }) => [
      { what: `open container + MAP_DMA with LIVE_UPDATE, ${pieces} mappings`, value: reopenMs, unit: 'ms' },
      { what: `open container with its mappings, ${pieces} of them`, value: pickUpMs, unit: 'ms' },
    ]),
    { what: 'MAP_DMA per GiB, 4 KiB pages', value: 2 * small.mapMs, unit: 'ms' },
    { what: 'MAP_DMA with LIVE_UPDATE per GiB, 4 KiB pages', value: 2 * small.claimMs, unit: 'ms' },
    {
      what: 'MAP_DMA with LIVE_UPDATE / without, 4 KiB pages',
      value: small.claimMs / small.mapMs,
      unit: '×',
      atMost: 1,
    },
  ];
}

async function kexecs(
  progress: Progress,
): Promise<{ readonly reports: readonly UpdateReport[]; readonly devices: readonly DeviceFacts[] }> {
  const machine = await Machine.start({
    devices: ['edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff', 'capture'],
    memory: '64M',
    kernel: guestPath('demo'),
    hostOptions: ['--pkernfs', '128M'],
    vmmOptions: ['--pkernfs', 'guest'],
  });
  try {
    const observer = new Observer(machine);
    const reports: UpdateReport[] = [];
    const devices: DeviceFacts[] = [];
    while (reports.length < KEXECS) {
      await progress(`kexec ${reports.length + 1} of ${KEXECS}`);
      await sleep(BETWEEN_MS);
      const counters = observer.counters();
      const [after] = await kexecUnder(machine.hostSocket, [{ qmpPath: machine.qmpSocket, qmp: machine.qmp }]);
      machine.reconnect(after!.qmp);
      const { pauseStartNs, pauseEndNs, pauseMs } = after!.report;
      await sleep(pauseMs);
      reports.push(after!.report);
      const facts = observer.deviceFacts(pauseStartNs, pauseEndNs, counters, counters);
      devices.push(facts.find(({ name }) => name === 'capture')!);
    }
    return { reports, devices };
  } finally {
    await machine.stop();
  }
}

interface Maps {
  readonly mapMs: number;
  /** MAP_DMA with LIVE_UPDATE, and with the opening of its container. */
  readonly claimMs: number;
  readonly reopenMs: number;
  /** The opening of a container whose mappings outlive the kernel, too. */
  readonly pickUpMs: number;
}

interface MapsPlan {
  readonly mib: number;
  readonly maxPage: string;
  /** Mappings, of one page each if there are several. */
  readonly pieces: number;
}

/** Medians of MAP_DMA of `mib` MiB in one container, and of what comes after a kexec. */
async function maps(progress: Progress, { mib, maxPage, pieces }: MapsPlan): Promise<Maps> {
  await progress(`MAP_DMA of ${mib} MiB, pages up to ${maxPage}, in ${pieces}`);
  const size = mib * MIB;
  const pieceBytes = pieces === 1 ? size : PAGE_SIZE;
  const options = ['--pkernfs', `${mib + 64}M`, '--iommu', `iommu0,max-pgsize=${maxPage}`];
  const host = await HostProcess.start(['edu'], options);
  try {
    let client = new KernelClient(host.socket);
    const ram = new Mapping(createPersistent(client, 'ram', size), size);
    // Each in a kernel that has done nothing before: code that runs for the first time is slow.
    const inNextKernel = async (): Promise<KernelClient> => {
      await kexec(client);
      client = new KernelClient(host.socket);
      return client;
    };
    const map = ({ fd }: PersistentContainer, flags: number): number =>
      elapsed(() => {
        const at = (i: number): DmaMapping => ({
          ...{ iova: i * pieceBytes, size: pieceBytes },
          ...{ vaddr: ram.vaddr + i * pieceBytes, flags },
        });
        mapDmas(
          client,
          fd,
          Array.from({ length: pieces }, (_, i) => at(i)),
        );
      });
    const [times, claims, reopens, pickUps]: [number[], number[], number[], number[]] = [[], [], [], []];
    for (let i = 0; i < MAPS; i++) {
      times.push(map(openPersistentContainer(await inNextKernel(), host), READ_WRITE));
      const { container, ms } = timedOpen(await inNextKernel(), host, false);
      claims.push(map(container, LIVE_UPDATE));
      reopens.push(ms + claims.at(-1)!);
      end(client, container); // and the tables are empty
      map(openPersistentContainer(await inNextKernel(), host, true), READ_WRITE);
      const picked = timedOpen(await inNextKernel(), host, true);
      pickUps.push(picked.ms);
      end(client, picked.container);
    }
    ram.release();
    return { mapMs: median(times), claimMs: median(claims), reopenMs: median(reopens), pickUpMs: median(pickUps) };
  } finally {
    await host.stop();
  }
}

interface PersistentContainer {
  readonly fd: number;
  readonly group: number;
}

function timedOpen(
  client: KernelClient,
  host: HostProcess,
  withEntries: boolean,
): { readonly container: PersistentContainer; readonly ms: number } {
  const start = performance.now();
  const container = openPersistentContainer(client, host, withEntries);
  return { container, ms: performance.now() - start };
}

function openPersistentContainer(
  client: KernelClient,
  { devices }: HostProcess,
  withEntries = false,
): PersistentContainer {
  const fd = openEmptyContainer(client);
  const tables = openPersistent(client, 'iommu/bench');
  setPersistentTables(client, fd, tables);
  client.close(tables);
  if (withEntries) {
    const entries = openPersistent(client, 'vfio/bench');
    setPersistentEntries(client, fd, entries);
    client.close(entries);
  }
  const group = joinContainer(client, devices[0]!.group, fd);
  setIommu(client, fd, TYPE1V2);
  return { fd, group };
}

function end(client: KernelClient, { fd, group }: PersistentContainer): void {
  client.close(fd);
  client.close(group);
}
