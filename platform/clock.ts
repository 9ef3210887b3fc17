/**
 * CLOCK_MONOTONIC in nanoseconds as a number (exact to 2^53 ns = 104 days of uptime; the same clock
 * in every process).
 */
export function monotonicNs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e9 + nanoseconds;
}
