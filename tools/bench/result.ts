/** One measured figure. A ratio carries the project's promise about it. */
export interface Figure {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** The promise, if there is one. */
  readonly atLeast?: number;
  readonly atMost?: number;
}

export const holds = ({ value, atLeast, atMost }: Figure): boolean | undefined => {
  if (atLeast === undefined && atMost === undefined) return undefined;
  return value >= (atLeast ?? Number.NEGATIVE_INFINITY) && value <= (atMost ?? Number.POSITIVE_INFINITY);
};

/** Tells the user what comes next. Rejects when the user wants to stop. */
export type Progress = (text: string) => Promise<void>;

/** One part of the benchmark; tells what it is doing as it goes. */
export type Benchmark = (progress: Progress) => Promise<Figure[]>;

/** Milliseconds that some work takes. */
export function elapsed(work: () => void): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
