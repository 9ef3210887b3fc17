/**
 * The facts about the update itself that the new image needs: the times of its phases, and every fd
 * that crosses the exec.
 */

import { einval } from '../../platform/errno.ts';
import { setCloexec } from '../../platform/libc/fd.ts';
import { defineSection, type StateOf } from '../../platform/section.ts';
import { integer, number, object, record } from '../../platform/shape.ts';

export const UPDATE_SECTION = defineSection(
  'update',
  1,
  {
    /** PhaseStamps */
    stamps: object({ begin: number, stop: number, invalidate: number }),
    fds: record(integer),
  },
  {
    /**
     * The cost of the take-back for the guest, in ns; `atNs` is its time (CLOCK_MONOTONIC). 0.1.0
     * did not save this.
     */
    takeback: object({ atNs: number, gapNs: number, longestGapNs: number }),
  },
);

export type UpdateState = StateOf<typeof UPDATE_SECTION>;
export type Takeback = NonNullable<UpdateState['takeback']>;

/**
 * Takes every fd that was handed over: it belongs to this image now, and would not survive an exec
 * by accident. EINVAL: an fd is not open.
 */
export function claimFds({ fds }: UpdateState): void {
  for (const [name, fd] of Object.entries(fds)) {
    try {
      setCloexec(fd, true);
    } catch {
      throw einval(`section update: fd ${fd} (${name}) is not open`);
    }
  }
}
