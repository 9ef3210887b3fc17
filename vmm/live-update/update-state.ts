/**
 * The update itself, as the new image gets to know it: when its phases were, and every fd that
 * crosses the exec.
 */

import { einval } from '../../platform/errno.ts';
import { setCloexec } from '../../platform/libc.ts';
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
     * What it cost the guest that main took it back from its threads, in ns; `atNs` is when
     * (CLOCK_MONOTONIC). Not saved by 0.1.0.
     */
    takeback: object({ atNs: number, gapNs: number, longestGapNs: number }),
  },
);

export type UpdateState = StateOf<typeof UPDATE_SECTION>;
export type Takeback = NonNullable<UpdateState['takeback']>;

/**
 * Every fd that was handed over belongs to this image now, and would not survive an exec by
 * accident. EINVAL: one is not open.
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
