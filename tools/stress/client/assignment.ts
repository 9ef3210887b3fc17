/** The task of a client process, as the shard passes it: one JSON argument, and fds by number. */
import type { PeerMappings, ProfileName } from '../../../iommu/kernel/core/profile.ts';
import type { Defect } from '../defects.ts';
import type { Invariant } from '../invariants.ts';

/** Fds of the actor's event log and of its guarded memory: memfds that the shard made. */
export const LOG_FD = 3;
export const MEMORY_FD = 4;
/** The same two for the partner that the actor starts. */
export const PARTNER_LOG_FD = 5;
export const PARTNER_MEMORY_FD = 6;
/**
 * First shared fd of a partner. From here on lie the container's fd, then the fds of the groups,
 * then those of the devices in the order of the assignment.
 */
export const FIRST_SHARED_FD = 5;

export const NR_GUARDED_PAGES = 1024;

export interface AssignedDevice {
  readonly bdf: string;
  /** Device type: edu, capture, mscribe. */
  readonly name: string;
  readonly group: number;
}

export interface Assignment {
  readonly kind: 'mapper' | 'fuzzer' | 'peers' | 'keeper' | 'auditor';
  readonly name: string;
  readonly socketPath: string;
  /** Words that make up the seed (random.ts). */
  readonly seed: readonly (number | string)[];
  readonly profile: ProfileName;
  readonly entryLimit: number;
  /** A mapper and a keeper have edu and capture, a mapper perhaps mscribe; a fuzzer has edu. */
  readonly devices: readonly AssignedDevice[];
  /**
   * A mapper may map in [firstVpn, endVpn). It may map elsewhere, too, when the container is its
   * own.
   */
  readonly window: { readonly firstVpn: number; readonly endVpn: number };
  readonly inject?: Defect | undefined;
  /** What becomes of mappings of a BAR (P2P-10). */
  readonly peerMappings?: PeerMappings;
  /** The process that shares the container. It inherits the fds. */
  readonly partner?: Assignment;
  /** True for a partner: its container and devices are open already. */
  readonly inherits?: boolean;
}

/** Client → shard: a line on stdout. */
export interface Complaint {
  readonly actor: string;
  readonly invariant: Invariant;
  readonly message: string;
}

/** Exit status of a process that has sent a complaint. */
export const STATUS_COMPLAINED = 3;
