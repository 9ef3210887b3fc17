/**
 * What main and the vCPU thread say to each other, beside the words of
 * machine/control/control-block.ts.
 */

import type { DeviceDescription } from '../../client/device.ts';
import type { MachineState } from '../../machine/machine.ts';
import type { VmShared } from '../vm-shared.ts';

/** A machine but for its state. */
export interface MachineParts {
  readonly ram: SharedArrayBuffer;
  /** Where the boot ROM jumps to. */
  readonly entry: number;
  readonly devices: readonly DeviceDescription[];
}

/** The worker's data. */
export interface VcpuInput {
  readonly shared: VmShared;
  /** The hart that it runs. */
  readonly hart: number;
  readonly parts: MachineParts;
  /** A task channel of this thread's own, connected by main; absent without devices. */
  readonly channel?: number;
}

/**
 * Main → vCPU thread, once: what its machine begins with. At power-on that is what the devices
 * showed of themselves.
 */
export type InitialState = MachineState | Pick<MachineState, 'pci'>;

/** A machine whose clock stands. */
export interface Suspended {
  /** The last instruction was executed before. */
  readonly atNs: number;
  readonly state: MachineState;
}

/**
 * The answer to a run: the first instruction under that request was about to be executed at atNs.
 */
export interface Running {
  readonly kind: 'running';
  readonly request: number;
  readonly atNs: number;
}

/**
 * The answer to a stop. A vCPU that has stopped itself says so, too, under the number of the
 * request it obeyed until then.
 */
export interface Stopped extends Suspended {
  readonly kind: 'stopped';
  readonly request: number;
}

export type VcpuMessage =
  /** The thread waits for its initial state. */
  | { readonly kind: 'ready' }
  | Running
  | Stopped
  /** The guest powered its machine off and has been stopped. */
  | { readonly kind: 'poweroff'; readonly status: number }
  /**
   * The machine has been reset and has been stopped: RAM must be filled. `request` where one asked
   * for it, else the guest did.
   */
  | { readonly kind: 'reset'; readonly request?: number }
  /** There is room for console input. */
  | { readonly kind: 'input-room' }
  /** The guest cannot run on. */
  | { readonly kind: 'failed'; readonly reason: string };
