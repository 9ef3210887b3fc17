/**
 * Puts a VM together from its parts, at rest, for power-on as well as for an update. The caller
 * starts it.
 */
import { codeOf } from '../../platform/errno.ts';
import { close } from '../../platform/libc/fd.ts';
import { InterruptThread } from '../crew/interrupts/thread.ts';
import { VcpuThread } from '../crew/vcpu/thread.ts';
import { Vitals } from '../crew/vitals.ts';
import type { DiskDescription } from '../machine/shared/disk-file.ts';
import type { PassthroughHost } from '../passthrough/passthrough-host.ts';
import { Console } from './console.ts';
import type { GuestRam } from './guest-ram.ts';
import { Vm } from './vm.ts';
import { hartsOf, type VmState } from './vm-state.ts';

export interface Assembled {
  readonly state: Omit<VmState, 'version'>;
  readonly ram: GuestRam;
  readonly disks: readonly DiskDescription[];
  /** Present with devices. */
  readonly host?: PassthroughHost | undefined;
  /** A fd of the vital signs to use; fresh ones if absent. */
  readonly vitals?: number | undefined;
}

export function assemble({ state, ram, disks, host, vitals: vitalsFd }: Assembled): Vm {
  const { options, entry, next, generation, paused } = state;
  const harts = hartsOf(options);
  const vitals = vitalsFd === undefined ? Vitals.create(harts) : openVitals(vitalsFd, harts);
  const { shared } = vitals;
  const vcpu = new VcpuThread(shared);
  return new Vm({
    options,
    entry,
    next,
    generation,
    runState: paused ? 'paused' : 'running',
    vitals,
    vcpu,
    ramFd: ram.fd,
    ram: ram.mapping,
    disks,
    console: new Console(shared),
    ...(host ? { host, interrupts: new InterruptThread(shared, host.container.fd) } : {}),
  });
}

/** Those of another layout are of no use: whoever made them sees that nobody publishes there. */
function openVitals(fd: number, harts: number): Vitals {
  try {
    return Vitals.open(fd);
  } catch (error) {
    if (codeOf(error) !== 'EINVAL') throw error;
    close(fd);
    return Vitals.create(harts);
  }
}
