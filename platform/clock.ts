/**
 * CLOCK_MONOTONIC in nanoseconds, as a number. It is exact to 2^53 ns (104 days of uptime). All
 * processes see the same clock.
 */
export function monotonicNs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e9 + nanoseconds;
}
