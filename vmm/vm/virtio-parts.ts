/** The virtio devices of a VM, with what is open behind them. */
import { rmSync } from 'node:fs';

import type { VirtioPart } from '../crew/vcpu/protocol.ts';
import type { DatagramDescription } from '../machine/shared/datagram-port.ts';
import type { DiskDescription } from '../machine/shared/disk-file.ts';
import type { ListenerDescription } from '../machine/shared/socket-stream.ts';
import { planVirtio, type VirtioOptions, type VirtioPlan } from './virtio-options.ts';

/** What was opened for the devices of a VM. */
export interface Backends {
  /** In the order of the block devices. */
  readonly disks: readonly DiskDescription[];
  /** In the order of the options. */
  readonly netdevs: readonly DatagramDescription[];
  /** In the order of planSerial's chardevs. */
  readonly listeners: readonly ListenerDescription[];
}

/** The VM has ended: nobody finds its sockets any more. */
export function removeSockets({ netdevs, listeners }: Backends): void {
  for (const path of [...netdevs.map(({ local }) => local), ...listeners.map(({ path }) => path)]) {
    rmSync(path, { force: true });
  }
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
    case 'serial':
      return { kind, transport, listener: device.chardev };
  }
}
