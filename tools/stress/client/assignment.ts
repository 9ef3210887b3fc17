/** What a shard tells a client process to be: one JSON argument, and fds by number. */
import type { ProfileName } from '../../../iommu/kernel/core/profile.ts';
import type { Defect } from '../defects.ts';
import type { Invariant } from '../invariants.ts';

/** The actor's event log and its guarded memory, as memfds of the shard. */
export const LOG_FD = 3;
export const MEMORY_FD = 4;
/** Those of the partner it is to start. */
export const PARTNER_LOG_FD = 5;
export const PARTNER_MEMORY_FD = 6;
/**
 * In a partner: the container's fd, then those of the groups and of the devices in the order of the
 * assignment.
 */
export const FIRST_SHARED_FD = 5;

export const NR_GUARDED_PAGES = 1024;

export interface AssignedDevice {
  readonly bdf: string;
  /** Type: edu, capture, mscribe. */
  readonly name: string;
  readonly group: number;
}

export interface Assignment {
  readonly kind: 'mapper' | 'fuzzer' | 'auditor';
  readonly name: string;
  readonly socketPath: string;
  /** Words of the seed (random.ts). */
  readonly seed: readonly (number | string)[];
  readonly profile: ProfileName;
  readonly entryLimit: number;
  /** A mapper has an edu, a capture, and perhaps an mscribe; a fuzzer has an edu. */
  readonly devices: readonly AssignedDevice[];
  /** What a mapper may map is [firstVpn, endVpn) and, when the container is its own, more. */
  readonly window: { readonly firstVpn: number; readonly endVpn: number };
  readonly inject?: Defect | undefined;
  /** Somebody to share the container with: a process of its own that inherits the fds. */
  readonly partner?: Assignment;
  /** This is such a partner: container and devices are open. */
  readonly inherits?: boolean;
}

/** Client → shard, a line on stdout. */
export interface Complaint {
  readonly actor: string;
  readonly invariant: Invariant;
  readonly message: string;
}

/** What a process ends with: it has ended in order, or complained. */
export const STATUS_COMPLAINED = 3;
