/** The events of the monitor, with their data. */
import { STATUSES } from '../live-update/migration/migration.ts';
import { arrayOf, bool, enumOf, int, NOTHING, number, object, str } from '../monitor/qapi.ts';

/** Of QEMU's ShutdownCause. */
const CAUSE = enumOf(
  'host-error',
  'host-qmp-quit',
  'host-qmp-system-reset',
  'host-signal',
  'guest-shutdown',
  'guest-reset',
  'guest-panic',
);
const ENDING = object({ guest: bool, reason: CAUSE });

const PHASES = object(
  { save: number, map: number, remap: number, load: number, resume: number },
  /** `kernel`, `open`: of a kexec. */
  { stop: number, invalidate: number, exec: number, boot: number, transfer: number, kernel: number, open: number },
);

/** What an update has cost. */
export const UPDATE_REPORT = {
  mode: enumOf('exec', 'transfer', 'kexec'),
  generation: int,
  pid: int,
  vaddrOld: str,
  vaddrNew: str,
  pauseMs: number,
  phasesMs: PHASES,
  pauseStartNs: number,
  pauseEndNs: number,
  prepared: object({ snapshot: enumOf('kept', 'made', 'none'), turnMs: number, preflightMs: number }),
  takeback: object({ beforeMs: number, gapMs: number, longestGapMs: number }),
  /** Of a kexec: without a kernel; from its end to the VMM's first call; MAP_DMA; PTEs written. */
  kexec: object({ kernelMs: number, firstCallMs: number, mapMs: number, pteWrites: int }),
  handover: object({ afterMs: number, gapMs: number, longestGapMs: number }),
};

/**
 * With the report when the update has completed, and with `error` when it has failed. `rollbackMs`
 * is there when a guardian has taken the guest back. `doubts` are sentences for people: what could
 * not be kept; or, with a second `started`, what the successor lacks.
 */
const LIVE_UPDATE = object(
  { status: enumOf('started', 'completed', 'failed') },
  { error: str, rollbackMs: number, doubts: arrayOf(str), ...UPDATE_REPORT },
);

/** A guardian has taken the guest over: another process ran it, and died. */
const TAKEOVER = object(
  { pid: int, generation: int, reason: str, takeoverMs: number, runningNs: number },
  { doubts: arrayOf(str) },
);

/** With `--guardian always`: who stands by now, or why nobody does. */
const GUARDIAN = object({ status: enumOf('standing', 'gone') }, { pid: int, error: str });

export const MIGRATION_STATUS = enumOf(...STATUSES);

export const EVENTS = {
  STOP: NOTHING,
  RESUME: NOTHING,
  POWERDOWN: NOTHING,
  RESET: ENDING,
  SHUTDOWN: ENDING,
  /** The host has taken a passed-through device back; `host` is its address there. */
  DEVICE_DELETED: object({ path: str, host: str }),
  LIVE_UPDATE,
  TAKEOVER,
  GUARDIAN,
  MIGRATION: object({ status: MIGRATION_STATUS }),
};
