/** `livevmm info`: what a running host has and does. */
import type { ContainerInfo, DeviceInfo, HostInfo, Memlock, UnitInfo } from '../../iommu/abi/control.ts';
import { type Command, parseOptions } from '../cli/command.ts';
import { formatTable } from '../cli/table.ts';
import { HostClient } from '../clients/host-client.ts';
import { defaultHostSocket } from '../launch/sockets.ts';

const HELP = `Usage: livevmm info [--host SOCKET] [--json]

Devices with their groups and counters, containers with their mappings, page-table writes and clients of a running host.

  --host SOCKET   where 'livevmm host' listens (default: in $XDG_RUNTIME_DIR/livevmm)
  --json          print one JSON document
`;

/** linux/vfio.h: VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU. */
const IOMMU_TYPES: Readonly<Record<number, string>> = { 1: 'type1', 3: 'type1v2' };

const deviceRow = (d: DeviceInfo): string[] => [
  d.bdf,
  d.name,
  `/dev/vfio/${d.group}`,
  ...[d.transactions, d.bytesRead, d.bytesWritten, d.faults, d.unsupported].map(String),
  ...[d.interruptsSent, d.interruptsRaised, d.opens].map(String),
];

/** Accesses of a device without IOMMU that had to wait for a valid vaddr. */
const sleptLine = ({ bdf, blocks }: DeviceInfo): string =>
  blocks === undefined || blocks.count === 0
    ? ''
    : `${bdf}: ${blocks.count} ${blocks.count === 1 ? 'access' : 'accesses'} slept, the longest ${(blocks.longestNs / 1e6).toFixed(1)} ms\n`;

const containerRow = (c: ContainerInfo): string[] => [
  String(c.id),
  c.iommuType === undefined ? '-' : (IOMMU_TYPES[c.iommuType] ?? String(c.iommuType)),
  c.groups.join(' '),
  ...[c.mappings, c.mappedBytes, c.invalidVaddrs].map(String),
];

const PAGE_SIZE_NAMES: Readonly<Record<number, string>> = { [2 ** 12]: '4K', [2 ** 21]: '2M', [2 ** 30]: '1G' };

const unitRow = ({ name, pgsizes, apertureBits, coherent, msi, pteWrites }: UnitInfo): string[] => [
  name,
  pgsizes.map((size) => PAGE_SIZE_NAMES[size] ?? String(size)).join(' '),
  `${apertureBits} bits`,
  coherent ? 'yes' : 'no',
  msi,
  String(pteWrites),
];

/** What info says of RLIMIT_MEMLOCK. */
const memlockWords = (memlock: Memlock): string =>
  memlock === 'as-process'
    ? "locked memory limited by each client's RLIMIT_MEMLOCK"
    : memlock === 'unlimited'
      ? 'locked memory unlimited'
      : `locked memory limited to ${memlock} bytes a client`;

function describe({ profile, memlock, pid, pinnedPages, devices, containers, units, clients }: HostInfo): string {
  const parts = [
    `host pid ${pid}, VFIO as of Linux ${profile}, ${pinnedPages} pages pinned, ${memlockWords(memlock)}\n`,
    formatTable(
      ['device', 'type', 'group', 'DMAs', 'read', 'written', 'faults', 'unanswered', 'MSIs sent', 'irqs', 'opens'],
      devices.map(deviceRow),
    ) + devices.map(sleptLine).join(''),
  ];
  if (containers.length > 0) {
    const head = ['container', 'iommu', 'groups', 'mappings', 'bytes', 'invalid vaddrs'];
    parts.push(formatTable(head, containers.map(containerRow)));
  }
  const unitHead = ['IOMMU', 'page sizes', 'aperture', 'coherent', 'MSIs', 'table words written'];
  parts.push(formatTable(unitHead, units.map(unitRow)));
  parts.push(
    clients
      .map((c) => `client pid ${c.pid}: ${c.channels} threads, ${c.lockedPages} pages locked, ${c.files.join(' ')}\n`)
      .join(''),
  );
  return parts.join('\n');
}

export const info: Command = {
  help: HELP,
  async run(words) {
    const options = parseOptions(words, { host: { type: 'string' }, json: { type: 'boolean', default: false } });
    const client = new HostClient(options.host ?? defaultHostSocket());
    try {
      const answer = client.ask({ op: 'info' });
      process.stdout.write(options.json ? `${JSON.stringify(answer, undefined, 2)}\n` : describe(answer));
      return 0;
    } finally {
      client.close();
    }
  },
};
