/** The sections a VMM saves: who owns each, its type, and the versions this build can load. */

import { einval } from '../../platform/errno.ts';
import type { ImsicState } from '../machine/imsic.ts';
import type { RouteState } from '../machine/interrupt-routes.ts';
import type { MachineState } from '../machine/machine.ts';
import type { MonitorState } from '../monitor/state.ts';
import type { VfioState } from '../passthrough/passthrough-host.ts';
import type { VmOptions } from '../vm/options.ts';
import type { PhaseStamps } from './phases.ts';
import type { StateFile, Versioned } from './state-file.ts';

/** The VM as a whole. */
export interface VmState extends Versioned {
  readonly options: VmOptions;
  readonly entry: number;
  /** Images that ran this guest before. */
  readonly generation: number;
  readonly paused: boolean;
}

/** Guest RAM: a memory object. Its vaddr is that of the image that is gone, never to be used again. */
export interface RamState extends Versioned {
  readonly fd: number;
  readonly size: number;
  readonly vaddrOld: number;
}

/** What was typed and not read by the guest. */
export interface ConsoleState extends Versioned {
  readonly input: Uint8Array;
}

export interface RoutesState extends Versioned {
  readonly routes: readonly RouteState[];
}

/** What it cost the guest that main took it back from its threads, in ns; `atNs` is when (CLOCK_MONOTONIC). */
export interface Takeback {
  readonly atNs: number;
  readonly gapNs: number;
  readonly longestGapNs: number;
}

/** The update itself: when its phases were, and every fd that crosses the exec. */
export interface UpdateState extends Versioned {
  readonly stamps: PhaseStamps;
  readonly fds: Readonly<Record<string, number>>;
  /** Not saved by 0.1.0. */
  readonly takeback?: Takeback;
}

export interface Sections extends MachineState {
  readonly vm: VmState;
  readonly ram: RamState;
  readonly imsic: ImsicState;
  readonly routes: RoutesState;
  readonly console: ConsoleState;
  readonly vfio: VfioState;
  readonly monitor: MonitorState;
  readonly update: UpdateState;
}

/** The version of each section that this build writes and loads. */
const KNOWN: Readonly<Record<keyof Sections, number>> = {
  vm: 1,
  ram: 1,
  vcpu: 1,
  hart: 1,
  clint: 1,
  uart: 1,
  pci: 1,
  imsic: 1,
  routes: 1,
  console: 1,
  vfio: 1,
  monitor: 1,
  update: 1,
};

/** All sections of a state, or EINVAL: one is missing, unknown, or of a version this build does not know. */
export function takeSections({ sections }: StateFile): Sections {
  for (const name of sections.keys()) {
    if (!(name in KNOWN)) throw einval(`section ${name}: this build does not know it`);
  }
  for (const [name, known] of Object.entries(KNOWN)) {
    const section = sections.get(name);
    if (!section) throw einval(`section ${name}: missing`);
    if (section.version !== known) {
      throw einval(`section ${name}: version ${section.version}, this build knows ${known}`);
    }
  }
  return Object.fromEntries(sections) as unknown as Sections;
}
