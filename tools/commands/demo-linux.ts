/** `livevmm demo --guest linux`: a stock Linux under load, while its VMM is replaced. */
import { join } from 'node:path';

import { CommandError } from '../cli/command.ts';
import { QUIET_CONSOLE } from '../debian/initramfs.ts';
import { type LinuxFacts, linuxGuest } from '../demo/linux/guests.ts';
import { linuxSoftware, type OwnLinux } from '../demo/linux/software.ts';
import { describeLinux, linuxTiles } from '../demo/linux/text.ts';
import { findFailures } from '../demo/linux/verdict.ts';
import { Child } from '../launch/child.ts';
import { Machine, type VmmOptions } from '../launch/machine.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { guestPath } from '../launch/programs.ts';
import { vmmArgv } from '../launch/vmm.ts';
import type { Mode } from './demo-updates.ts';

const CAPTURE = ['0x1234', '0xca97'] as const;
/** Station n has address 10.0.2.n and a MAC that ends with n (guest/programs/net.c). */
const PEER = 2;
const MACHINE = ['--machine', 'virt,aia=none'];

export interface LinuxRun extends Pick<VmmOptions, 'memory' | 'vmmOptions'> {
  /** The user's own, or a folder for Debian's packages. Without either they are not kept. */
  readonly from: OwnLinux | string | undefined;
  readonly hostOptions: readonly string[];
}

export function linuxMode({ from, memory, vmmOptions = [], hostOptions }: LinuxRun): Mode<LinuxFacts, LinuxFacts> {
  const folder = new PrivateFolder();
  let peer: Child | undefined;
  const station = (n: number, other: number, device: string): string[] => {
    const wire = `local.path=${join(folder.path, `${n}`)},remote.path=${join(folder.path, `${other}`)}`;
    return ['--netdev', `dgram,id=n,${wire}`, '--device', `${device},netdev=n,mac=52:54:00:00:00:0${n}`];
  };
  return {
    async start(machines) {
      const work = { own: '10.0.2.1/24', peer: `10.0.2.${PEER}`, capture: CAPTURE };
      const { kernel, initrd, disk } = softwareIn(folder.path, from, work);
      const options = [...MACHINE, ...station(PEER, 1, 'virtio-net-device')];
      const argv = vmmArgv({ memory: '64M', kernel: guestPath('net'), options, qmp: join(folder.path, 'peer.sock') });
      peer = new Child({ name: 'the station that answers pings', argv, lifeline: true });
      const machine = await Machine.start<LinuxFacts>({
        ...{ devices: ['capture'], memory, kernel, hostOptions },
        vmmOptions: [
          ...MACHINE,
          ...['--initrd', initrd, '--append', QUIET_CONSOLE, '--drive', `file=${disk}`],
          ...station(1, PEER, 'virtio-net-pci'),
          ...vmmOptions,
        ],
      });
      machines.push(machine);
      return linuxGuest(machine);
    },
    findFailures,
    describe: describeLinux,
    tiles: linuxTiles,
    async end() {
      await peer?.stop();
      await folder.remove();
    },
  };
}

function softwareIn(folder: string, from: LinuxRun['from'], work: Parameters<typeof linuxSoftware>[2]) {
  try {
    return linuxSoftware(folder, from ?? folder, work);
  } catch (error) {
    throw new CommandError(`no Linux to boot: ${(error as Error).message}`);
  }
}
