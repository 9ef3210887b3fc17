/** The virtio devices of a VM, with what is open behind them. */
import type { VirtioPart } from '../crew/vcpu/protocol.ts';
import type { DatagramDescription } from '../machine/shared/datagram-port.ts';
import type { DiskDescription } from '../machine/shared/disk-file.ts';
import { planVirtio, type VirtioOptions, type VirtioPlan } from './virtio-options.ts';

/** What was opened for the devices of a VM. */
export interface Backends {
  /** In the order of the block devices. */
  readonly disks: readonly DiskDescription[];
  /** In the order of the options. */
  readonly netdevs: readonly DatagramDescription[];
}

export function virtioParts(options: VirtioOptions, { disks, netdevs }: Backends): readonly VirtioPart[] {
  const left = [...disks];
  return planVirtio(options).map((device) => partOf(device, left, netdevs));
}

function partOf(device: VirtioPlan, disks: DiskDescription[], netdevs: Backends['netdevs']): VirtioPart {
  const { kind, transport } = device;
  switch (kind) {
    case 'rng':
      return { kind, transport };
    case 'blk':
      return { kind, transport, disk: disks.shift()! };
    case 'net':
      return { kind, transport, mac: device.mac, socket: netdevs[device.netdev]! };
  }
}
