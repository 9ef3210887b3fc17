/** The outcome of a case: its answers compared with the recorded ones. */
import type { Played } from './case-process.ts';
import { acceptedDeviation, type Deviation, supervisedDeviation } from './deviations.ts';
import type { VectorCase, VectorFile, VectorStep } from './vector-file.ts';

export interface Difference {
  readonly step: VectorStep;
  /** Number of the step in its case. */
  readonly index: number;
  readonly got: string;
  /** The deviation that makes this difference an accepted one. */
  readonly accepted?: Deviation;
}

export interface CaseOutcome {
  readonly file: VectorFile;
  readonly case: VectorCase;
  readonly differences: readonly Difference[];
  /** Number of steps that answered as recorded. */
  readonly passedSteps: number;
  readonly notes: readonly string[];
  /** Why the client could not play the case to its end. */
  readonly failure?: string;
  /** Why the case was not played at all. */
  readonly skipped?: string;
}

export interface ComparedCase {
  readonly file: VectorFile;
  readonly case: VectorCase;
  readonly throughSyscalls: boolean;
}

export function compare({ file, case: vectorCase, throughSyscalls }: ComparedCase, played: Played): CaseOutcome {
  const differences: Difference[] = [];
  for (const [index, got] of played.answers.entries()) {
    const step = vectorCase.steps[index]!;
    if (got === step.expected) continue;
    const accepted =
      acceptedDeviation(file, vectorCase, step, got) ?? (throughSyscalls ? supervisedDeviation(step, got) : undefined);
    differences.push({ step, index, got, ...(accepted ? { accepted } : {}) });
  }
  const { notes, failure } = played;
  const passedSteps = played.answers.length - differences.length;
  return { file, case: vectorCase, differences, passedSteps, notes, ...(failure === undefined ? {} : { failure }) };
}

export function skipped(file: VectorFile, vectorCase: VectorCase, reason: string): CaseOutcome {
  return { file, case: vectorCase, differences: [], passedSteps: 0, notes: [], skipped: reason };
}

export const isUnexplained = ({ differences, failure }: CaseOutcome): boolean =>
  failure !== undefined || differences.some(({ accepted }) => !accepted);
