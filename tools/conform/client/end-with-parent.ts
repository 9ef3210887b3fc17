/**
 * Ties a client's life to its parent. A client that sleeps, in a step or in the emulated kernel,
 * notices nothing, so the kernel has to end it when its parent is killed.
 */
import { constants } from 'node:os';

import { setParentDeathSignal } from '../../../platform/libc/this-process.ts';

/**
 * Asks the kernel for SIGKILL when the parent dies. The main thread of each image must call this,
 * and must call it again after a change of the uid, which cancels the request.
 */
export function endWithParent(): void {
  setParentDeathSignal(constants.signals.SIGKILL);
}
