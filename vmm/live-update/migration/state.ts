/**
 * The part of a migration that survives the update: what the monitor's clients have set and ask
 * for.
 */
import { flag, list, number, object, oneOf, type Shaped, text } from '../../../platform/shape.ts';

/**
 * Of QEMU's MigMode. `normal` is the mode until another is set; there is nothing here that does it.
 */
export const MODES = ['normal', 'cpr-exec', 'cpr-transfer'] as const;
export type Mode = (typeof MODES)[number];

export const MIGRATION_STATE = object(
  {
    mode: oneOf(...MODES),
    /** cpr-exec-command. */
    execCommand: list(text),
    /** Whether MIGRATION events are sent (the capability `events`). */
    events: flag,
  },
  {
    /**
     * CLOCK_MONOTONIC ns: the update was asked for; the successor had answered that it can take the
     * guest over.
     */
    times: object({ begunNs: number, activeNs: number }),
  },
);

export type MigrationState = Shaped<typeof MIGRATION_STATE>;
