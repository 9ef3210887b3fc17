/** Shared memory between the VMM's threads. Main makes it anew in every process. */
import { controlBytes } from '../machine/control/control-block.ts';
import { imsicBytes } from '../machine/hart-local/imsic.ts';
import { CONSOLE_INPUT_BYTES } from '../machine/shared/console-input.ts';
import { INTERRUPT_ROUTES_BYTES } from '../machine/shared/interrupt-routes.ts';

export interface VmShared {
  /** MachineBlock and HartBlocks */
  readonly control: SharedArrayBuffer;
  /** One ImsicFile per hart */
  readonly imsic: SharedArrayBuffer;
  /** InterruptRoutes */
  readonly routes: SharedArrayBuffer;
  /** ConsoleInput */
  readonly input: SharedArrayBuffer;
}

/** Makes the shared memory of a machine with so many harts. */
export const createVmShared = (harts: number): VmShared => ({
  control: new SharedArrayBuffer(controlBytes(harts)),
  imsic: new SharedArrayBuffer(imsicBytes(harts)),
  routes: new SharedArrayBuffer(INTERRUPT_ROUTES_BYTES),
  input: new SharedArrayBuffer(CONSOLE_INPUT_BYTES),
});
