/** The JSON document of the matrix: its facts, and what follows from them. */
import { findFailures, type MatrixFacts } from './verdict.ts';

export interface MatrixDocument extends MatrixFacts {
  readonly verdict: 'pass' | 'fail';
  /** Why it is not "pass", one line each. */
  readonly failures: readonly string[];
  readonly livevmm: string;
  readonly node: string;
}

export function makeDocument(facts: MatrixFacts, version: string): MatrixDocument {
  const failures = findFailures(facts);
  return {
    verdict: failures.length === 0 ? 'pass' : 'fail',
    failures,
    livevmm: version,
    node: process.version,
    ...facts,
  };
}
