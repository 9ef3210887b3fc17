/** The JSON document of a demo run: its facts, and what follows from them. */

import type { GuestFacts } from '../launch/guest-console.ts';
import type { DemoFacts, InterruptFacts, UpdateFacts } from './facts.ts';
import { findFailures } from './verdict.ts';

export interface DemoDocument {
  readonly verdict: 'pass' | 'fail';
  /** Why it is not "pass", one line each. */
  readonly failures: readonly string[];
  readonly livevmm: string;
  readonly node: string;
  readonly pid: number;
  readonly updates: readonly UpdateFacts[];
  readonly pteWritesDuringUpdates: number;
  readonly guest: GuestFacts | null;
  readonly interrupts: InterruptFacts | null;
  readonly ramHashMatches: boolean | null;
}

export function makeDocument(facts: DemoFacts, version: string): DemoDocument {
  const failures = findFailures(facts);
  const { pid, updates, pteWritesDuringUpdates, guest, interrupts, ramHashMatches } = facts;
  return {
    verdict: failures.length === 0 ? 'pass' : 'fail',
    failures,
    livevmm: version,
    node: process.version,
    pid,
    updates,
    pteWritesDuringUpdates,
    guest,
    interrupts,
    ramHashMatches,
  };
}
