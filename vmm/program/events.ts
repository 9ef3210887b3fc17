/** The events of the monitor, with their data. */
import { bool, enumOf, int, NOTHING, number, object, str } from '../monitor/qapi.ts';

/** Of QEMU's ShutdownCause. */
const CAUSE = enumOf(
  'host-qmp-quit',
  'host-qmp-system-reset',
  'host-signal',
  'guest-shutdown',
  'guest-reset',
  'guest-panic',
);
const ENDING = object({ guest: bool, reason: CAUSE });

const PHASES = object({
  stop: number,
  invalidate: number,
  save: number,
  exec: number,
  boot: number,
  map: number,
  remap: number,
  load: number,
  resume: number,
});

/**
 * The members beside `status` that are there when an update has completed, or `error` when it has
 * failed.
 */
const LIVE_UPDATE = object(
  { status: enumOf('started', 'completed', 'failed') },
  {
    error: str,
    generation: int,
    pid: int,
    vaddrOld: str,
    vaddrNew: str,
    pauseMs: number,
    phasesMs: PHASES,
    pauseStartNs: number,
    pauseEndNs: number,
    takeback: object({ beforeMs: number, gapMs: number, longestGapMs: number }),
    handover: object({ afterMs: number, gapMs: number, longestGapMs: number }),
  },
);

export const EVENTS = {
  STOP: NOTHING,
  RESUME: NOTHING,
  POWERDOWN: NOTHING,
  RESET: ENDING,
  SHUTDOWN: ENDING,
  LIVE_UPDATE,
};
