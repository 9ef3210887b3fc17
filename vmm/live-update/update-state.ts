/**
 * The facts about the update itself that the new image needs: the times of its phases, and every fd
 * that crosses the exec.
 */

import { einval } from '../../platform/errno.ts';
import { fd } from '../../platform/fd-shape.ts';
import { setCloexec } from '../../platform/libc/fd.ts';
import { defineSection, type StateOf, type Versioned } from '../../platform/section.ts';
import { integer, nullable, number, object, oneOf, record } from '../../platform/shape.ts';
import { MIGRATION_STATE } from './migration/state.ts';

/** The same in all versions: PhaseStamps, and the fds by what they are for. */
const FIELDS_OF_VERSION_1 = {
  stamps: object({ begin: number, stop: number, invalidate: number }),
  fds: record(fd),
};

/** The cost of the take-back for the guest, in ns; `atNs` is its time (CLOCK_MONOTONIC). */
const TAKEBACK = object({ atNs: number, gapNs: number, longestGapNs: number });

/**
 * What came before the take-back, in ms: the wait for the update's turn, and the preflight with the
 * snapshot's making.
 */
const PREPARED = object({ snapshot: oneOf('kept', 'made', 'none'), turnMs: number, preflightMs: number });

export const UPDATE_SECTION = defineSection('update', 2, {
  ...FIELDS_OF_VERSION_1,
  /** null: an earlier build began the update, and did not take the guest back from its threads. */
  takeback: nullable(TAKEBACK),
  /** null: an earlier build, which knew no migration. */
  migration: nullable(MIGRATION_STATE),
  /** null: an earlier build began the update. */
  prepared: nullable(PREPARED),
  /**
   * The process that takes the guest back if the new image does not commit (standby/); null: there
   * is none.
   */
  guardian: nullable(object({ messages: integer, pid: integer, probationMs: integer })),
}).earlier(1, FIELDS_OF_VERSION_1, {
  // 0.1.0 refuses a body with `takeback`; the builds after it saved that, under the same version
  optional: { takeback: TAKEBACK },
  read: ({ stamps, fds, takeback = null }) => {
    return { stamps, fds, takeback, migration: null, prepared: null, guardian: null };
  },
  write: ({ stamps, fds }) => ({ stamps, fds }),
});

/** Of a guest that goes on without an update. */
export const NO_UPDATE = {
  stamps: { begin: 0, stop: 0, invalidate: 0 },
  fds: {},
  takeback: null,
  migration: null,
  prepared: null,
  guardian: null,
};

/** The sections, which tell the new image that it gets these fds. */
export function withFds(
  sections: Readonly<Record<string, Versioned>>,
  fds: UpdateState['fds'],
): Readonly<Record<string, Versioned>> {
  const update = UPDATE_SECTION.decode(sections[UPDATE_SECTION.name]!);
  return { ...sections, [UPDATE_SECTION.name]: UPDATE_SECTION.of({ ...update, fds }) };
}

export type UpdateState = StateOf<typeof UPDATE_SECTION>;
export type Takeback = NonNullable<UpdateState['takeback']>;

/**
 * Takes every fd that was handed over: it belongs to this image now, and would not survive an exec
 * by accident. A negative one was for another image. EINVAL: an fd is not open.
 */
export function claimFds({ fds }: UpdateState): void {
  for (const [name, fd] of Object.entries(fds)) {
    if (fd < 0) continue;
    try {
      setCloexec(fd, true);
    } catch {
      throw einval(`section update: fd ${fd} (${name}) is not open`);
    }
  }
}
