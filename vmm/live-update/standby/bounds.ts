/** How long an image that takes the guest over may take, before it counts as hung. */

/**
 * The time in which the guest must run there. It takes 0.1 s, and on a busy machine 2 s. A device's
 * ring must hold what comes meanwhile: the demo guest's holds 8 s.
 */
export const RUN_WITHIN_MS = 5000;
/** The time in which it must commit, beside the probation. */
export const SETTLE_WITHIN_MS = 5000;
