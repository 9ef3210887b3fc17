/** What a VM consists of, and what its vCPU gets of that. */
import type { Mapping } from '../../platform/memory.ts';
import type { InterruptThread } from '../crew/interrupts/thread.ts';
import type { MachineParts } from '../crew/vcpu/protocol.ts';
import type { VcpuThread } from '../crew/vcpu/thread.ts';
import type { Vitals } from '../crew/vitals.ts';
import type { PassthroughHost } from '../passthrough/passthrough-host.ts';
import { intxEventfd } from '../passthrough/vfio-section.ts';
import type { Console } from './console.ts';
import { planFwCfg } from './fw-cfg-option.ts';
import { ramPart } from './guest-ram.ts';
import { planIcount } from './icount-option.ts';
import { planSemihosting } from './semihosting-option.ts';
import { planSerial } from './serial-option.ts';
import { type Backends, virtioParts } from './virtio-parts.ts';
import type { VmOptions } from './vm-state.ts';

/**
 * QEMU's words. prelaunch: after power-on with -S, or the reset of a guest whose device had failed,
 * until somebody says `cont`. internal-error: a device has failed, and the guest must not run
 * before a reset.
 */
export type RunState = 'prelaunch' | 'running' | 'paused' | 'internal-error' | 'shutdown';

export interface VmParts {
  readonly options: VmOptions;
  /** The object that the shared memory of the threads lies in. */
  readonly vitals: Vitals;
  readonly vcpu: VcpuThread;
  readonly ramFd: number;
  readonly ram: Mapping;
  /** Present with devices. */
  readonly host?: PassthroughHost;
  /** Present with devices, whose interrupts it delivers, or with sockets, whose news it tells. */
  readonly interrupts?: InterruptThread;
  readonly console: Console;
  readonly backends: Backends;
  /** Number of images that ran this guest before this one. */
  readonly generation: number;
  /** The address that the boot ROM jumps to. */
  readonly entry: number;
  /** The address that firmware goes on at; undefined without firmware. */
  readonly next: number | undefined;
  readonly runState: RunState;
}

/** The parts of the machine that a vCPU is built for. */
export function machinePartsOf(parts: VmParts): MachineParts {
  const { ram, entry, next, host, options, backends, interrupts } = parts;
  const { serial } = planSerial(options);
  const devices = host?.devices.map(({ description }) => description) ?? [];
  const accel = options.accel ? { accel: options.accel } : {};
  return {
    ram: ramPart(ram),
    entry,
    next,
    aia: options.aia,
    ...(options.aplic ? { aplic: true } : {}),
    iommu: options.iommuSys === 'on',
    virtio: virtioParts(options, backends),
    ...(serial === 'stdio' ? {} : { serial }),
    ...(backends.folders.length > 0 ? { folders: backends.folders } : {}),
    listeners: backends.listeners,
    fwCfg: planFwCfg(options, next !== undefined),
    semihosting: planSemihosting(options),
    devices,
    intx: host?.devices.map(intxEventfd) ?? [],
    ...accel,
    icount: planIcount(options),
    recording: backends.recording,
    ...(interrupts?.input.news === undefined ? {} : { news: interrupts.input.news }),
    ...(host ? { peerBars: host.peerBars } : {}),
  };
}
