/** The device types that this board can be built with. */
import { einval } from '../../platform/errno.ts';
import { device as capture } from '../capture/device.ts';
import { device as edu } from '../edu/device.ts';
import { device as ivshmem } from '../ivshmem/device.ts';
import type { DeviceType } from '../kit/device.ts';
import { device as mscribe } from '../mscribe/device.ts';
import { device as pciTestdev } from '../pci-testdev/device.ts';
import { device as virtio9p } from '../virtio-9p/device.ts';
import { device as virtioBlk } from '../virtio-blk/device.ts';
import { device as virtioConsole } from '../virtio-console/device.ts';
import { device as virtioNet } from '../virtio-net/device.ts';
import { device as virtioRng } from '../virtio-rng/device.ts';

export interface Model {
  readonly type: DeviceType;
  /** The folder of devices/ that its worker runs (kit/worker.ts). */
  readonly folder: string;
}

export const MODELS: readonly Model[] = [
  { type: edu, folder: 'edu' },
  { type: capture, folder: 'capture' },
  { type: ivshmem, folder: 'ivshmem' },
  { type: pciTestdev, folder: 'pci-testdev' },
  { type: mscribe, folder: 'mscribe' },
  { type: virtioBlk, folder: 'virtio-blk' },
  { type: virtioNet, folder: 'virtio-net' },
  { type: virtioConsole, folder: 'virtio-console' },
  { type: virtio9p, folder: 'virtio-9p' },
  { type: virtioRng, folder: 'virtio-rng' },
];

/** The model of a device type. EINVAL for an unknown type. */
export function modelOf(name: string): Model {
  const model = MODELS.find(({ type }) => type.name === name);
  if (!model) throw einval(`no device type '${name}' (known: ${MODELS.map(({ type }) => type.name).join(', ')})`);
  return model;
}
