/**
 * A client that is asleep, in a step or in the emulated kernel, notices nothing: the kernel has to
 * end it when its parent is killed.
 */
import { constants } from 'node:os';

import { setParentDeathSignal } from '../../../platform/libc.ts';

/**
 * To be said by the main thread of each image, and again after a change of the uid, which takes it
 * back.
 */
export function endWithParent(): void {
  setParentDeathSignal(constants.signals.SIGKILL);
}
