/**
 * What real kernels answered (recordings of 6.12.107 and of 6.1 rebuilt to the 5.12 era), replayed
 * on the kernel's VFIO in this process. Big files are sampled; whatever differs is shown with its
 * line in the file.
 */
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { ProfileName } from '../../iommu/kernel/core/profile.ts';
import { acceptedDeviation } from '../../tools/conform/deviations.ts';
import { readVectorFile, type VectorCase, type VectorFile } from '../../tools/conform/vector-file.ts';
import { InProcessCase, isReplayable } from './interpreter.ts';

const VECTORS = fileURLToPath(new URL('./vectors/', import.meta.url));
/** Of files with more cases than this every SAMPLE-th is replayed. */
const WHOLE = 100;
const SAMPLE = 5;

interface Difference {
  readonly at: string;
  readonly step: string;
  readonly expected: unknown;
  readonly got: unknown;
}

/** The first step of a case that is answered otherwise, or what it leaves behind. */
async function replay(file: VectorFile, one: VectorCase, profile: ProfileName): Promise<Difference | undefined> {
  const run = new InProcessCase(file, profile);
  let difference: Difference | undefined;
  for (const step of one.steps) {
    const got = await run.step(step);
    if (got === step.expected || acceptedDeviation(file, one, step, got)) continue;
    difference = { at: `${one.name}, line ${step.line}`, step: step.text, expected: step.expected, got };
    break;
  }
  const left = await run.close();
  if (Object.values(left).every((count) => count === 0)) return difference;
  return difference ?? { at: one.name, step: 'exit of all processes', expected: 'nothing left', got: left };
}

/** Its cases map BARs: they are for whole hosts (test/tools/conform/). */
const MAPS_BARS = 'p2p-sample.vec.gz';

const recordings = (kernel: string): readonly string[] =>
  readdirSync(`${VECTORS}${kernel}`).filter((name) => name !== MAPS_BARS);

const sample = (cases: readonly VectorCase[]): readonly VectorCase[] =>
  cases.length <= WHOLE ? cases : cases.filter((_, i) => i % SAMPLE === 0);

/** Cases that show the mm test of UNMAP (UNM-9), which 6.2 has not. */
const SHOWS_MM_TEST = /^(exec-from-thread|fork-child-.*)$/;

describe.each<[string, ProfileName, RegExp]>([
  ['6.12.107', '6.12', /^$/],
  ['6.1-blocking-mmtest', '5.12', /^$/],
  ['6.1-blocking-mmtest', '6.2', SHOWS_MM_TEST],
])('kernel %s, profile %s', (kernel, profile, leftOut) => {
  it.each(recordings(kernel))('%s: every step is answered as the kernel did', async (name) => {
    const file = readVectorFile(`${VECTORS}${kernel}/${name}`);
    const cases = sample(file.cases.filter((one) => isReplayable(one) && !leftOut.test(one.name)));
    const differences: Difference[] = [];
    for (const one of cases) {
      const difference = await replay(file, one, profile);
      if (difference) differences.push(difference);
    }
    expect(differences).toEqual([]);
    expect(cases.length).toBeGreaterThan(0);
  });
});
