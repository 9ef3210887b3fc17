/**
 * CLOCK_MONOTONIC in nanoseconds, as a number. It is exact to 2^53 ns (104 days of uptime). All
 * processes see the same clock.
 */
export function monotonicNs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e9 + nanoseconds;
}

/** The host's time since 1970 in nanoseconds, exact to a millisecond. */
export const realtimeNs = (): bigint => BigInt(Date.now()) * 1_000_000n;
