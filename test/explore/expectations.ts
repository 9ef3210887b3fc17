/** The expectations that tests of protocols have of the explorer. */
import { expect } from 'vitest';
import { type ExploreOptions, explore, type Failure, replay } from './explorer.ts';
import type { Mutant, Scenario } from './scenario.ts';

/**
 * Every interleaving within the bound ends well; the report of the first that does not is the
 * test's error.
 */
export async function holds(scenario: Scenario, options?: ExploreOptions): Promise<void> {
  const { failure, executions, steps, seconds } = await explore(scenario, options);
  if (process.env.EXPLORE_STATS) {
    console.log(`${scenario.name}: ${executions} executions, ${steps} steps, ${seconds.toFixed(2)} s`);
  }
  expect(failure?.report).toBeUndefined();
}

/** The explorer finds the seeded bug, and its replay string brings it back. */
export async function findsMutant(
  scenario: Scenario,
  mutant: Mutant,
  kind: Failure['kind'],
  options?: ExploreOptions,
): Promise<void> {
  const { failure, executions, seconds } = await explore(scenario, { ...options, mutant });
  if (process.env.EXPLORE_STATS)
    console.log(`after ${executions} executions, ${seconds.toFixed(2)} s\n${failure?.report}`);
  expect(failure?.kind, `${scenario.name}+${mutant.name}: ${failure?.report}`).toBe(kind);
  const again = await replay(scenario, failure!.replay, { ...options, mutant });
  expect(again.failure?.message).toBe(failure!.message);
}
