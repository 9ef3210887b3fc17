/** The wait of a driver for a device that says in a register when it is done. */
import { monotonicNs } from '../../../platform/clock.ts';
import { etimedout } from '../../../platform/errno.ts';

const PATIENCE_NS = 20e9;

/** Asks again and again until `isDone` returns true. ETIMEDOUT after 20 s: `what` does not end. */
export function pollUntil(isDone: () => boolean, what: string): void {
  const deadline = monotonicNs() + PATIENCE_NS;
  while (!isDone()) if (monotonicNs() > deadline) throw etimedout(`${what} does not end`);
}
