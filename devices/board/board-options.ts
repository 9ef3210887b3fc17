/** What a board is built of, and how that is planned. */
import type { Memlock } from '../../iommu/abi/control.ts';
import type { KernelWorkerData } from '../../iommu/kernel/board/protocol.ts';
import type { PeerMappings, ProfileName } from '../../iommu/kernel/core/profile.ts';
import { einval } from '../../platform/errno.ts';
import type { BackendOptions } from './backends.ts';
import { type DeviceOptions, type PlannedDevice, planDevices } from './floor-plan.ts';
import { DEFAULT_UNITS, type IommuOptions, type PlannedUnit, planUnits } from './iommu-units.ts';

/** Where a kernel listens. */
export interface KernelSocket {
  readonly socketPath: string;
  /** A socket that listens there already: clients may have connected. */
  readonly listener?: number;
}

/** Without a `socketPath` no kernel is started, and the IOMMU refuses all DMA. */
export interface BoardOptions extends BackendOptions, Partial<KernelSocket> {
  readonly devices: readonly DeviceOptions[];
  readonly profile?: ProfileName;
  /** What becomes of mappings of a BAR when its device goes, in place of the profile's answer. */
  readonly peerMappings?: PeerMappings | undefined;
  /** How much memory a client may lock; default 'as-process'. */
  readonly memlock?: Memlock;
  readonly kernelRamBytes?: number;
  /** Memory that outlives the kernel (pkernfs), a multiple of 2 MiB; default: none. */
  readonly pkernfsBytes?: number | undefined;
  /** What MAP_DMA with LIVE_UPDATE compares; default strict. */
  readonly tablesMode?: KernelWorkerData['tablesMode'];
  /**
   * The number of the first IOMMU group; default 0. Each device has a group, numbered upward in the
   * order of the slots.
   */
  readonly firstGroup?: number;
  /**
   * IOMMU groups of kvemu.0, kvemu.1 …. They are no devices of the board; they belong to a module
   * in its kernel (iommu/kernel/mdev/kvemu.ts).
   */
  readonly kvemuGroups?: readonly number[];
  /** IOMMU units; default: one. */
  readonly units?: readonly IommuOptions[];
  /** Gets a line when a device worker has failed; default: standard error. */
  readonly report?: (line: string) => void;
}

export interface BoardPlan {
  readonly plan: readonly PlannedDevice[];
  readonly units: readonly PlannedUnit[];
}

/** EINVAL or ENOSPC for a board that cannot be built. */
export function planBoard({ devices, units = DEFAULT_UNITS, firstGroup = 0, ...named }: BoardOptions): BoardPlan {
  const planned = planUnits(units);
  return { units: planned, plan: planDevices({ devices, units: units.map(({ name }) => name), firstGroup, ...named }) };
}

/** EINVAL for a group that has a device already. */
export function kvemuGroups(
  { kvemuGroups: groups = [] }: BoardOptions,
  plan: readonly PlannedDevice[],
): readonly number[] {
  const taken = new Set(plan.map(({ group }) => group));
  for (const group of groups) {
    if (taken.has(group)) throw einval(`kvemu: group ${group} has a device already`);
    taken.add(group);
  }
  return groups;
}
