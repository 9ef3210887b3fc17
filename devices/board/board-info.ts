/** What `livevmm host` and `livevmm info` tell of a board. */
import type { DeviceFacts } from '../../iommu/abi/control.ts';
import { readPortCounters } from '../../iommu/bus/counters.ts';
import { formatBdf, type PciFunction } from '../../iommu/bus/pci-function.ts';
import { HALTED, RUNNING, STARTING } from '../kit/control.ts';
import type { Bar } from '../kit/device.ts';
import type { DeviceThread } from './device-thread.ts';
import type { PlannedDevice } from './floor-plan.ts';

export interface BarInfo {
  readonly index: number;
  readonly kind: 'registers' | 'ports' | 'ram';
  /** pa, or first port. */
  readonly start: number;
  readonly size: number;
}

/**
 * A device as `livevmm info` shows it. Facts that only the kernel knows are missing; facts that
 * only the board knows are added.
 */
export interface BoardDeviceInfo extends DeviceFacts {
  readonly state: 'starting' | 'running' | 'halted' | 'stopped';
  readonly failure?: string;
  readonly bars: readonly BarInfo[];
  /** Register accesses served. */
  readonly accesses: number;
}

export interface BoardInfo {
  readonly devices: readonly BoardDeviceInfo[];
  /** The memory map, by pa. */
  readonly memory: readonly { readonly kind: string; readonly start: number; readonly size: number }[];
}

/** A device of the board. */
export interface Installed {
  readonly plan: PlannedDevice;
  readonly function: PciFunction;
  readonly thread: DeviceThread;
}

export function describe({ plan, function: { bdf, name, unit, group, counters }, thread }: Installed): BoardDeviceInfo {
  const { control, failure } = thread;
  const state = control.state();
  const { transactions, bytesRead, bytesWritten, faults, unsupported } = readPortCounters(counters);
  return {
    ...{ bdf: formatBdf(bdf), name, group, unit: unit ?? null },
    ...{ transactions, bytesRead, bytesWritten, faults, unsupported, interruptsSent: control.interrupts() },
    accesses: control.accesses(),
    state: state === RUNNING ? 'running' : state === HALTED ? 'halted' : state === STARTING ? 'starting' : 'stopped',
    ...(failure === undefined ? {} : { failure }),
    bars: plan.bars.map((bar) => describeBar(bar, plan.barAddresses[bar.index]!)),
  };
}

function describeBar({ index, size, kind, space }: Bar, start: number): BarInfo {
  return { index, kind: kind === 'ram' ? 'ram' : space === 'io' ? 'ports' : 'registers', start, size };
}
