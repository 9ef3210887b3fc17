/**
 * The machine of the recordings, as options for our board (docs/recordings.md, "How they were
 * recorded").
 */
import type { BoardOptions } from '../../devices/board/board-options.ts';
import { parseDeviceOption } from '../cli/device-option.ts';
import { unitsOf } from '../cli/iommu-option.ts';
import { separateKvemu } from '../cli/kvemu-option.ts';
import { parseMemlock } from '../cli/memlock-option.ts';
import type { Assignment } from './client/protocol.ts';
import type { DescribedMachine, VectorDevice, VectorFile } from './vector-file.ts';

/**
 * Kind of a PCI device → its type and properties. The kind is the device's name in the vectors
 * without its number.
 */
const MODELS: Readonly<
  Record<string, { readonly type: string; readonly properties: Readonly<Record<string, string>> }>
> = {
  // The recorder's edu takes 100 ms for a transfer. No compared answer depends on that.
  edu: { type: 'edu', properties: { 'dma-mask': '0xffffffff', 'dma-latency-ms': '0' } },
  ivshmem: { type: 'ivshmem-plain', properties: { size: '1M' } },
  testdev: { type: 'pci-testdev', properties: { membar: '64K' } },
};
const EMULATED = 'emu';

export interface RecordedMachine {
  readonly options: Pick<BoardOptions, 'devices' | 'units' | 'firstGroup' | 'kvemuGroups' | 'memlock'>;
  /** The group and the name by which a client finds each device. */
  readonly devices: Assignment['devices'];
  /** Devices of the vectors that our board cannot have. */
  readonly missing: readonly string[];
}

/**
 * A group of vectors that was recorded with `-device intel-iommu,intremap=off` (docs/recordings.md,
 * "Groups").
 */
const NO_INTREMAP = 'no-intremap';

/**
 * Options for our board. The board numbers the groups of its PCI devices upwards from the first
 * one's, as the recorded kernels did.
 */
export function recordedMachine({
  devices,
  group,
  machine,
}: Pick<VectorFile, 'devices' | 'group' | 'machine'>): RecordedMachine {
  if (machine) return describedMachine(machine);
  const kind = ({ name }: VectorDevice): string => name.replace(/\d+$/, '');
  const pci = devices.filter((device) => Object.hasOwn(MODELS, kind(device)));
  const emulated = devices.filter((device) => kind(device) === EMULATED);
  const found = [...pci, ...emulated];
  return {
    options: {
      units: [{ name: 'iommu0', properties: { intremap: group === NO_INTREMAP ? 'off' : 'on' } }],
      devices: pci.map((device) => {
        const { type, properties } = MODELS[kind(device)]!;
        return { type, properties: { ...properties, addr: slotOf(device) } };
      }),
      firstGroup: Math.min(...pci.map(({ group }) => group)),
      kvemuGroups: emulated.map(({ group }) => group),
    },
    devices: Object.fromEntries(found.map(({ name, bdf, group }) => [name, { group, name: bdf }])),
    missing: devices.filter((device) => !found.includes(device)).map(({ name }) => name),
  };
}

/** The machine of a recorded program. Its steps name groups and devices as the program did. */
function describedMachine({ devices, iommus, memlock = 'as-process' }: DescribedMachine): RecordedMachine {
  const options = {
    ...separateKvemu(devices.map(parseDeviceOption), 0),
    ...unitsOf(iommus),
    memlock: parseMemlock(memlock),
  };
  return { options, devices: {}, missing: [] };
}

/** The slot in a BDF: `4` for 0000:00:04.0. */
const slotOf = ({ bdf }: VectorDevice): string => /([0-9a-f]+)\.0$/.exec(bdf)?.[1] ?? '';
