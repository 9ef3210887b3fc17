/** The devices this board can be built with. */
import { einval } from '../../platform/errno.ts';
import { capture } from '../capture/device.ts';
import { edu } from '../edu/device.ts';
import { ivshmem } from '../ivshmem/device.ts';
import type { Defect } from '../kit/control.ts';
import type { DeviceType } from '../kit/device.ts';
import { mscribe } from '../mscribe/device.ts';
import { pciTestdev } from '../pci-testdev/device.ts';

export interface Model {
  readonly type: DeviceType;
  /** Entry of its worker, for platform/thread.ts. */
  readonly entry: string;
  /** Defects it can be asked for. */
  readonly defects: readonly Defect[];
}

const MODELS: Readonly<Record<string, Model>> = {
  edu: { type: edu, entry: 'devices/edu/worker', defects: ['drop-interrupt'] },
  [ivshmem.name]: { type: ivshmem, entry: 'devices/ivshmem/worker', defects: [] },
  [pciTestdev.name]: { type: pciTestdev, entry: 'devices/pci-testdev/worker', defects: [] },
  mscribe: { type: mscribe, entry: 'devices/mscribe/worker', defects: ['drop-interrupt'] },
  capture: { type: capture, entry: 'devices/capture/worker', defects: ['corrupt-frame', 'drop-interrupt'] },
};

/** EINVAL for a type there is not. */
export function modelOf(type: string): Model {
  const model = Object.hasOwn(MODELS, type) ? MODELS[type] : undefined;
  if (!model) throw einval(`no device type '${type}' (known: ${Object.keys(MODELS).join(', ')})`);
  return model;
}
