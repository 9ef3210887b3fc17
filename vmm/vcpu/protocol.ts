/** What main and the vCPU thread say to each other, beside the words of machine/control-block.ts. */
import type { MachineState } from '../machine/machine.ts';
import type { DeviceDescription } from '../vfio/device.ts';

/** Shared memory between the VMM's threads; made by main in every process anew. */
export interface VmShared {
  /** ControlBlock */
  readonly control: SharedArrayBuffer;
  /** ImsicFile */
  readonly imsic: SharedArrayBuffer;
  /** InterruptRoutes */
  readonly routes: SharedArrayBuffer;
  /** ConsoleInput */
  readonly input: SharedArrayBuffer;
}

/** The worker's data. The thread starts before main knows the rest, because a thread's start is what takes time. */
export interface VcpuInput {
  readonly shared: VmShared;
}

/** Main → vCPU, once. */
export interface VcpuSetup {
  readonly ram: SharedArrayBuffer;
  /** Where the boot ROM jumps to. */
  readonly entry: number;
  /** A task channel of this thread's own, connected by main; absent without devices. */
  readonly channel?: number;
  readonly devices: readonly DeviceDescription[];
  /** Of the image before this one; at power-on what the devices showed of themselves. */
  readonly state: MachineState | Pick<MachineState, 'pci'>;
}

export type VcpuMessage =
  /** The machine is built; the next request will be obeyed. */
  | { readonly kind: 'loaded'; readonly atNs: number }
  /** The first instruction since it was stopped was about to be executed at atNs. */
  | { readonly kind: 'running'; readonly atNs: number }
  /** The last instruction was executed before atNs; `request` is the number of the request that this answers. */
  | { readonly kind: 'stopped'; readonly request: number; readonly atNs: number; readonly state: MachineState }
  /** The guest powered its machine off and has been stopped. */
  | { readonly kind: 'poweroff'; readonly status: number }
  /** The machine has been reset, by the guest or by request, and has been stopped: RAM must be filled. */
  | { readonly kind: 'reset' }
  /** There is room for console input. */
  | { readonly kind: 'input-room' }
  /** The guest cannot run on. */
  | { readonly kind: 'failed'; readonly reason: string };
