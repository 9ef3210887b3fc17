/** The virtio devices of a VM, with what is open behind them. */
import { rmSync } from 'node:fs';
import type { DatagramDescription } from '../../devices/backends/datagram-port.ts';
import type { ListenerDescription } from '../../devices/backends/socket-stream.ts';
import type { DiskDescription } from '../../devices/virtio/disk-file.ts';
import type { VirtioPart } from '../crew/vcpu/protocol.ts';
import type { RecordingDescription } from '../machine/shared/replay/recording.ts';
import { backendOf } from './stream-plan.ts';
import { planVirtio, type VirtioPlan } from './virtio-options.ts';
import type { VmOptions } from './vm-state.ts';

/** What was opened for the devices of a VM. */
export interface Backends {
  /** In the order of the block devices. */
  readonly disks: readonly DiskDescription[];
  /** In the order of the options, of those that are datagram sockets. */
  readonly netdevs: readonly DatagramDescription[];
  /** In the order of the options: folders for 9P. */
  readonly folders: readonly number[];
  /** In the order of planStreams. */
  readonly listeners: readonly ListenerDescription[];
  /** The file that the guest is recorded into, or replayed from. */
  readonly recording?: RecordingDescription | undefined;
}

/** The VM has ended: nobody finds its sockets any more. */
export function removeSockets({ netdevs, listeners }: Backends): void {
  const ours = listeners.filter(({ fd }) => fd !== null);
  for (const path of [...netdevs.map(({ local }) => local), ...ours.map(({ path }) => path)]) {
    rmSync(path, { force: true });
  }
}

export function virtioParts(options: VmOptions, { disks, netdevs }: Backends): readonly VirtioPart[] {
  const left = [...disks];
  return planVirtio(options).map((device) => partOf(options, device, left, netdevs));
}

function partOf(
  options: VmOptions,
  device: VirtioPlan,
  disks: DiskDescription[],
  netdevs: Backends['netdevs'],
): VirtioPart {
  const { kind, transport, iommuPlatform, vectors } = device;
  const unit = { transport, iommuPlatform, vectors };
  switch (kind) {
    case 'rng':
      return { kind, ...unit };
    case 'blk':
      return { kind, ...unit, disk: disks.shift()! };
    case 'net': {
      const { type, at } = backendOf(options, device.netdev);
      return { kind, ...unit, mac: device.mac, wire: type === 'stream' ? at : netdevs[at]! };
    }
    case '9p':
      return { kind, ...unit, folder: device.fsdev, tag: device.tag };
    case 'serial':
      return { kind, ...unit, listener: device.chardev };
  }
}
