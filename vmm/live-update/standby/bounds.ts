/** How long an image that takes the guest over may take, before it counts as hung. */
import type { TimeLimit } from '../time-limit.ts';

/**
 * The time in which the guest must run there. It takes 0.1 s, and on a busy machine 2 s. A device's
 * ring must hold what comes meanwhile: the demo guest's holds 8 s.
 */
export const RUN_WITHIN_MS = 5000;
/** The time of its own in which it must commit, beside the probation. The guest runs meanwhile. */
export const SETTLE_WITHIN_MS = 5000;
/** More than that, while it gets no CPU. */
const BUSY_MS = 55_000;

/** Of the process that has `withinMs` to commit. */
export const settleLimit = (withinMs: number): TimeLimit => ({ ownMs: withinMs, allMs: withinMs + BUSY_MS });
