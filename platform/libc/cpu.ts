/** Which CPU a thread runs on: sched_getcpu(3), sched_setaffinity(2), sched_yield(2). */
import { c } from './ffi.ts';

/** Room for the CPUs of a cpu_set_t. */
const SET_BYTES = 128;

/** The CPU that runs this thread. It may be another one at once. */
// HOT: no system call
export const currentCpu = (): number => c.sched_getcpu();

/** Lets the threads run first that wait for this thread's CPU. */
export function yieldCpu(): void {
  c.sched_yield();
}

/**
 * Moves this thread to another one of the CPUs that it may use. Afterwards it may use the same ones
 * as before. False: there is no other.
 */
export function leaveCpu(): boolean {
  const allowed = new Uint8Array(SET_BYTES);
  if (c.sched_getaffinity(0, SET_BYTES, allowed) < 0) return false; // more CPUs than a set has
  const others = allowed.slice();
  const cpu = currentCpu();
  others[cpu >>> 3]! &= ~(1 << (cpu & 7));
  if (others.every((byte) => byte === 0) || c.sched_setaffinity(0, SET_BYTES, others) < 0) return false;
  c.sched_setaffinity(0, SET_BYTES, allowed);
  return true;
}
