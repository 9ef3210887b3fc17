/**
 * DMA of each device over the whole run, in the devices' own 1 ms buckets, for the progress line
 * and the report.
 */

export interface Bucket {
  /** CLOCK_MONOTONIC, start of the bucket. */
  readonly startNs: number;
  readonly transactions: number;
  readonly bytes: number;
}

export const BUCKET_NS = 1e6;

export interface DeviceSeries {
  readonly bdf: string;
  readonly name: string;
  /** Ascending; buckets without DMA are absent. */
  readonly buckets: readonly Bucket[];
}

/** Bytes per second in each of the consecutive bins of `binNs` from `fromNs` to `toNs`. */
export function rates({ buckets }: DeviceSeries, fromNs: number, toNs: number, binNs: number): number[] {
  const bins = new Array<number>(Math.max(0, Math.ceil((toNs - fromNs) / binNs))).fill(0);
  for (const { startNs, bytes } of buckets) {
    const index = Math.floor((startNs - fromNs) / binNs);
    if (index >= 0 && index < bins.length) bins[index] = bins[index]! + bytes * (1e9 / binNs);
  }
  return bins;
}

/** The buckets that begin in [fromNs, toNs). */
export function bucketsWithin({ buckets }: DeviceSeries, fromNs: number, toNs: number): Bucket[] {
  return buckets.filter(({ startNs }) => startNs >= fromNs && startNs < toNs);
}

/** `1.5 MB/s`, for people. */
export function formatRate(bytesPerSecond: number): string {
  const units = ['B/s', 'kB/s', 'MB/s', 'GB/s'];
  const power = bytesPerSecond < 1000 ? 0 : Math.min(3, Math.floor(Math.log10(bytesPerSecond) / 3));
  const value = bytesPerSecond / 1000 ** power;
  return `${value < 10 && power > 0 ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}
