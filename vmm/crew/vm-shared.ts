/** Shared memory between the VMM's threads; made by main in every process anew. */
import { controlBytes } from '../machine/control/control-block.ts';
import { imsicBytes } from '../machine/hart-local/imsic.ts';
import { CONSOLE_INPUT_BYTES } from '../machine/shared/console-input.ts';
import { INTERRUPT_ROUTES_BYTES } from '../machine/shared/interrupt-routes.ts';

export interface VmShared {
  /** MachineBlock and HartBlocks */
  readonly control: SharedArrayBuffer;
  /** An ImsicFile a hart */
  readonly imsic: SharedArrayBuffer;
  /** InterruptRoutes */
  readonly routes: SharedArrayBuffer;
  /** ConsoleInput */
  readonly input: SharedArrayBuffer;
}

/** For a machine of so many harts. */
export const createVmShared = (harts: number): VmShared => ({
  control: new SharedArrayBuffer(controlBytes(harts)),
  imsic: new SharedArrayBuffer(imsicBytes(harts)),
  routes: new SharedArrayBuffer(INTERRUPT_ROUTES_BYTES),
  input: new SharedArrayBuffer(CONSOLE_INPUT_BYTES),
});
