/** The machine of the recordings as a board of ours (vectors README, "How recorded"). */
import type { Board, DeviceOptions } from '../../devices/board/board.ts';
import type { Assignment } from './client/protocol.ts';
import type { VectorDevice } from './vector-file.ts';

/** Type and properties of the devices, by the name that the vectors give them without its number. */
const MODELS: Readonly<Record<string, Omit<DeviceOptions, 'unit'>>> = {
  edu: { type: 'edu', properties: { 'dma-mask': '0xffffffff', 'dma-latency-ms': '0' } },
};

export interface RecordedDevices {
  readonly options: readonly DeviceOptions[];
  /** Devices of the vectors that this board has not got. */
  readonly missing: readonly string[];
  /** Names in the vectors, in the order of the options. */
  readonly names: readonly string[];
}

export function recordedDevices(devices: readonly VectorDevice[]): RecordedDevices {
  const known = devices.filter(({ name }) => modelOf(name) !== undefined);
  return {
    options: known.map(({ name }) => modelOf(name)!),
    missing: devices.filter((device) => !known.includes(device)).map(({ name }) => name),
    names: known.map(({ name }) => name),
  };
}

const modelOf = (name: string): DeviceOptions | undefined => MODELS[name.replace(/\d+$/, '')];

/** How a client finds the devices on the board. */
export function addresses(board: Board, { names }: RecordedDevices): Assignment['devices'] {
  const { devices } = board.info();
  return Object.fromEntries(names.map((name, i) => [name, { group: devices[i]!.group, name: devices[i]!.bdf }]));
}
