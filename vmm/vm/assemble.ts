/**
 * Puts a VM together from its parts, at rest, for power-on as well as for an update. The caller
 * starts it.
 */
import { codeOf } from '../../platform/errno.ts';
import { epollCreate } from '../../platform/libc/epoll.ts';
import { close } from '../../platform/libc/fd.ts';
import { InterruptThread } from '../crew/interrupts/thread.ts';
import { VcpuThread } from '../crew/vcpu/thread.ts';
import { Vitals } from '../crew/vitals.ts';
import type { PassthroughHost } from '../passthrough/passthrough-host.ts';
import { intxEventfd } from '../passthrough/vfio-section.ts';
import { Console } from './console.ts';
import type { GuestRam } from './guest-ram.ts';
import { planSerial } from './serial-option.ts';
import type { Backends } from './virtio-parts.ts';
import { Vm } from './vm.ts';
import { hartsOf, type VmState } from './vm-state.ts';

export interface Assembled {
  readonly state: Omit<VmState, 'version'>;
  readonly ram: GuestRam;
  readonly backends: Backends;
  /** Present with devices. */
  readonly host?: PassthroughHost | undefined;
  /** A fd of the vital signs to use; fresh ones if absent. */
  readonly vitals?: number | undefined;
}

export function assemble({ state, ram, backends, host, vitals: vitalsFd }: Assembled): Vm {
  const { options, entry, next, generation, paused } = state;
  const harts = hartsOf(options);
  const vitals = vitalsFd === undefined ? Vitals.create(harts) : openVitals(vitalsFd, harts);
  vitals.showJournalBehind(ram.mapping);
  const { shared } = vitals;
  const vcpu = new VcpuThread(shared);
  const hasSockets = backends.netdevs.length + backends.listeners.length > 0;
  const hasWires = host?.devices.some((device) => intxEventfd(device) !== undefined) ?? false;
  const waiting = {
    ...(host ? { hostFile: host.container.fd, notices: host.notices() } : {}),
    ...(hasSockets || hasWires ? { news: epollCreate() } : {}),
  };
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
    backends,
    // a replay has its input already
    console: new Console(shared, { ofTerminal: planSerial(options).serial === 'stdio', hears: !replays(backends) }),
    ...(host ? { host } : {}),
    ...(host || hasSockets ? { interrupts: new InterruptThread(shared, waiting) } : {}),
  });
}

const replays = ({ recording }: Backends): boolean => recording?.mode === 'replay';

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
