/** The JSON document of a demo run: its facts, and what follows from them. */

import type { GuestFacts } from '../launch/guest-console.ts';
import type { RunFacts } from './facts.ts';

/** `G`: what the guests have counted. */
export interface RunDocument<G> extends Omit<RunFacts<G>, 'updatesWanted' | 'errors'> {
  readonly verdict: 'pass' | 'fail';
  /** Why it is not "pass", one line each. */
  readonly failures: readonly string[];
  readonly livevmm: string;
  readonly node: string;
}

export type DemoDocument = RunDocument<GuestFacts>;

/** `failures`: what the verdict says about these facts. */
export function makeDocument<G>(
  { updatesWanted: _, errors: __, ...facts }: RunFacts<G>,
  failures: readonly string[],
  version: string,
): RunDocument<G> {
  const verdict = failures.length === 0 ? 'pass' : 'fail';
  return { verdict, failures, livevmm: version, node: process.version, ...facts };
}
