/** One measured figure. Ratios carry what the project promises of them. */
export interface Figure {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** The promise, where there is one. */
  readonly atLeast?: number;
  readonly atMost?: number;
}

export const holds = ({ value, atLeast, atMost }: Figure): boolean | undefined => {
  if (atLeast === undefined && atMost === undefined) return undefined;
  return value >= (atLeast ?? Number.NEGATIVE_INFINITY) && value <= (atMost ?? Number.POSITIVE_INFINITY);
};

/** Says what comes next. Rejects when the user wants no more. */
export type Progress = (text: string) => Promise<void>;

/** One part of the benchmark; tells what it is doing as it goes. */
export type Benchmark = (progress: Progress) => Promise<Figure[]>;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
