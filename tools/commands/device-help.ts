/**
 * `livevmm host --device help` and `--device NAME,help`: lists the devices, or describes one of
 * them.
 */
import {
  type BackendKind,
  type BarHelp,
  type DeviceHelp,
  describeDeviceType,
  deviceSummaries,
  type PropertyHelp,
  type RegisterHelp,
} from '../../devices/board/host.ts';
import { hex } from '../../platform/hex.ts';
import type { DeviceOption, HelpRequest } from '../cli/device-option.ts';
import { formatTable } from '../cli/table.ts';

/** The place of a device, which `--device` takes for every device. */
const PLACE: readonly PropertyHelp[] = [
  { name: 'addr', default: 'next free', expected: 'a slot from 2 to 1f', what: 'its slot on the PCI bus' },
];
const UNIT: PropertyHelp = {
  name: 'iommu',
  default: 'the first',
  expected: 'the name of an IOMMU unit',
  what: 'the IOMMU unit in front of it',
};

/** What leads to what is behind a device. */
const BACKENDS: Readonly<Record<BackendKind, PropertyHelp>> = {
  netdev: { name: 'netdev', default: 'none', expected: 'the id of a --netdev', what: 'its wire; it must be given' },
  fsdev: { name: 'fsdev', default: 'none', expected: 'the id of an --fsdev', what: 'its folder; it must be given' },
  chardev: { name: 'chardev', default: 'none', expected: 'the id of a --chardev', what: 'its line; it must be given' },
};

/** kvemu is no device of the board: see tools/cli/kvemu-option.ts. */
const KVEMU = {
  name: 'kvemu',
  summary: "no PCI device: does what a user of the kernel's mediated-device service would do",
  properties: [
    {
      name: 'group',
      default: 'next',
      expected: 'a number',
      what: 'its IOMMU group, counted on after those of the devices',
    },
  ],
} as const;

const SUMMARIES = [...deviceSummaries(), KVEMU];
const SUMMARY_WIDTH = Math.max(...SUMMARIES.map(({ name }) => name.length)) + 2;

/** The list of devices, each line after `margin`. */
export const deviceList = (margin: string): string =>
  SUMMARIES.map(({ name, summary }) => `${margin}${name.padEnd(SUMMARY_WIDTH)}${summary}\n`).join('');

/**
 * The answer as text or as one JSON document. EINVAL for a device or a property that does not
 * exist.
 */
export function answerHelp(request: HelpRequest, json: boolean): string {
  if (request === 'all') {
    const list = SUMMARIES.map(({ name, summary }) => ({ name, summary }));
    return json ? `${JSON.stringify(list)}\n` : deviceList('');
  }
  if (request.type === KVEMU.name) {
    return json ? `${JSON.stringify(KVEMU)}\n` : `${headline(KVEMU)}\n${propertyTable(KVEMU.properties)}`;
  }
  const help = withPlace(request);
  return json ? `${JSON.stringify(help)}\n` : describe(help);
}

function withPlace({ type, properties: { addr, iommu, netdev, chardev, fsdev, ...own } }: DeviceOption): DeviceHelp {
  const help = describeDeviceType(type, own);
  const { backend, mediated, properties } = help;
  const before = backend === null ? [] : [BACKENDS[backend]];
  return { ...help, properties: [...before, ...properties, ...PLACE, ...(mediated ? [] : [UNIT])] };
}

const headline = ({ name, summary }: { readonly name: string; readonly summary: string }): string =>
  `${name}: ${summary}\n`;

function describe(help: DeviceHelp): string {
  const { vendor, device, classCode, properties, bars } = help;
  const ids = `PCI ${digits(vendor, 4)}:${digits(device, 4)}, class ${digits(classCode, 6)}, ${interrupts(help)}\n`;
  return [`${headline(help)}${ids}`, propertyTable(properties), ...bars.map(describeBar)].join('\n');
}

const digits = (value: number, width: number): string => value.toString(16).padStart(width, '0');

function interrupts({ msi, interruptPin }: DeviceHelp): string {
  const kinds = [...(msi ? ['MSI'] : []), ...(interruptPin > 0 ? [`INT${'ABCD'[interruptPin - 1]}`] : [])];
  return kinds.length === 0 ? 'no interrupt' : kinds.join(' and ');
}

const propertyTable = (properties: readonly PropertyHelp[]): string =>
  formatTable(
    ['property', 'default', 'values', 'meaning'],
    properties.map(({ name, default: byDefault, expected, what }) => [name, byDefault, expected, what]),
  );

const KIND = { registers: 'registers in memory space', ports: 'registers in I/O space', ram: 'memory' };

function describeBar({ index, kind, size, access, absent, registers }: BarHelp): string {
  const head = `BAR ${index}: ${size} bytes, ${KIND[kind]}`;
  if (access === null) return `${head}\n`;
  const { min, max } = access;
  const sizes = min < max ? `${min} to ${max} bytes` : max === 1 ? '1 byte' : `${max} bytes`;
  const line = `${head}, accesses of ${sizes}; where there is no register, reads give ${absent}\n`;
  if (registers.length === 0) return line;
  return line + formatTable(['offset', 'register', 'bytes', 'access', 'reset', 'meaning'], registers.map(registerRow));
}

function registerRow({ at, name, width, count, access, reset, what }: RegisterHelp): string[] {
  const bytes = count > 1 ? `${count}×${width}` : `${width}`;
  return [`0x${digits(at, 2)}`, name, bytes, access, reset === null ? '' : hex(reset), what];
}
