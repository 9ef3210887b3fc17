/** `npm run mutants`: shows that the test of each known defect sees it. */
import { parseArgs } from 'node:util';

import { onEndingSignal } from '../../tools/cli/signals.ts';
import { formatTable } from '../../tools/cli/table.ts';
import { apply, MUTANTS, type Mutant, misfit, readMutants } from './mutant.ts';
import { patienceAfter, runTests, type TestResult } from './test-run.ts';
import { copyTree, removeTree } from './tree.ts';

const HELP = `Usage: npm run mutants -- [--only NAME] [--part I/N] [--from DIR] [--json]

Puts known defects into a private copy of the project, one at a time, and runs the test that must see each: it must pass without
the defect and fail with it. The defects are in test/mutants/<room>/<name>.mutant.

  --only NAME   only this one, or those of this room (can be given more than once)
  --part I/N    only the I-th of N equal parts
  --from DIR    other defects than those in test/mutants
  --json        print one JSON document

Exit status: 0 each was seen, 1 one was not, or fits the code no longer; 2 the command line makes no sense.
`;

class UsageError extends Error {}

/**
 * seen: the test failed. survived: it passed. broken: it fails without the defect, or did not run.
 * outdated: the patch does not fit.
 */
type Verdict = 'seen' | 'survived' | 'broken' | 'outdated';

interface Outcome {
  readonly mutant: string;
  readonly title: string;
  readonly verdict: Verdict;
  readonly seconds: number;
  /** How the test failed, or what is wrong. */
  readonly message: string;
}

/** The I-th part of N: every N-th, so that each part has some of each room. */
function partOf(mutants: readonly Mutant[], text: string): readonly Mutant[] {
  const [, part, parts] = /^(\d+)\/(\d+)$/.exec(text)?.map(Number) ?? [];
  if (!part || !parts || part > parts) throw new UsageError(`--part is I/N with I from 1 to N, not '${text}'`);
  return mutants.filter((_, i) => i % parts === part - 1);
}

function chosen(mutants: readonly Mutant[], only: readonly string[], part: string | undefined): readonly Mutant[] {
  const isMeant = ({ name }: Mutant, word: string): boolean => name === word || name.startsWith(`${word}/`);
  const unknown = only.find((word) => !mutants.some((mutant) => isMeant(mutant, word)));
  if (unknown !== undefined) throw new UsageError(`no mutant and no room '${unknown}'`);
  const named = only.length === 0 ? mutants : mutants.filter((mutant) => only.some((word) => isMeant(mutant, word)));
  return part === undefined ? named : partOf(named, part);
}

/** The tests of one name, without any defect. */
interface Undamaged {
  /** What is wrong with them, or ''. */
  readonly trouble: string;
  /** How long the longest of them took. */
  readonly seconds: number;
  /** How long the whole file took, hooks included. */
  readonly fileSeconds: number;
}

/** The test files as they run without any defect. */
class Baseline {
  readonly #root: string;
  readonly #mutants: readonly Mutant[];
  readonly #files = new Map<string, Promise<ReadonlyMap<string, Undamaged>>>();

  constructor(root: string, mutants: readonly Mutant[]) {
    this.#root = root;
    this.#mutants = mutants;
  }

  /** Of the mutant's test. Call it for a tree without defects. */
  async of({ test, testName }: Mutant, signal: AbortSignal): Promise<Undamaged> {
    const file = this.#files.get(test) ?? this.#run(test, signal);
    this.#files.set(test, file);
    return (await file).get(testName)!;
  }

  async #run(test: string, signal: AbortSignal): Promise<ReadonlyMap<string, Undamaged>> {
    const names = [...new Set(this.#mutants.filter((one) => one.test === test).map(({ testName }) => testName))];
    const { tests, trouble, seconds: fileSeconds } = await runTests(this.#root, test, names, { signal });
    const troubleOf = (name: string, mine: readonly TestResult[]): string => {
      const failed = mine.find(({ passed }) => !passed);
      if (failed) return `fails without the defect: ${failed.message}`;
      return mine.length > 0 ? '' : trouble || `no test has '${name}' in its name, or it is skipped here`;
    };
    return new Map(
      names.map((name) => {
        const mine = tests.filter((result) => result.name.includes(name));
        const seconds = Math.max(0, ...mine.map((result) => result.seconds));
        return [name, { trouble: troubleOf(name, mine), seconds, fileSeconds }];
      }),
    );
  }
}

async function tryOut(root: string, mutant: Mutant, baseline: Baseline, signal: AbortSignal): Promise<Outcome> {
  const outcome = (verdict: Verdict, message: string, seconds = 0): Outcome => {
    const { name, title } = mutant;
    return { mutant: name, title, verdict, seconds, message };
  };
  const outdated = misfit(mutant, root);
  if (outdated !== undefined) return outcome('outdated', outdated);
  const { trouble, seconds, fileSeconds } = await baseline.of(mutant, signal);
  if (trouble !== '') return outcome('broken', trouble);
  const undo = apply(mutant, root);
  try {
    const run = await runTests(root, mutant.test, [mutant.testName], {
      signal,
      testMs: patienceAfter(seconds),
      hookMs: patienceAfter(fileSeconds),
    });
    const failed = run.tests.find(({ passed }) => !passed);
    if (failed) return outcome('seen', failed.message, run.seconds);
    if (run.tests.length === 0) return outcome('broken', `with the defect: ${run.trouble}`, run.seconds);
    return outcome('survived', `${mutant.test} '${mutant.testName}' passes`, run.seconds);
  } finally {
    undo();
  }
}

const short = (text: string): string => (text.length > 100 ? `${text.slice(0, 99)}…` : text);

function print(outcomes: readonly Outcome[]): void {
  const rows = outcomes.map(({ mutant, verdict, seconds, message }) => [
    mutant,
    verdict,
    `${seconds.toFixed(1)} s`,
    verdict === 'seen' ? short(message) : message,
  ]);
  const seen = outcomes.filter(({ verdict }) => verdict === 'seen').length;
  process.stdout.write(`${formatTable(['mutant', 'verdict', 'took', ''], rows)}\n`);
  process.stdout.write(`${seen} of ${outcomes.length} defects seen\n`);
}

async function main(words: string[]): Promise<number> {
  const { values } = parseArgs({
    args: words,
    options: {
      only: { type: 'string', multiple: true, default: [] },
      part: { type: 'string' },
      from: { type: 'string', default: MUTANTS },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const mutants = chosen(readMutants(values.from), values.only, values.part);
  const asked = new AbortController();
  const stopListening = onEndingSignal(() => asked.abort());
  const root = copyTree();
  const outcomes: Outcome[] = [];
  try {
    const baseline = new Baseline(root, mutants);
    for (const mutant of mutants) {
      const outcome = await tryOut(root, mutant, baseline, asked.signal);
      if (asked.signal.aborted) return 130;
      outcomes.push(outcome);
      if (!values.json)
        process.stderr.write(`${outcomes.length}/${mutants.length} ${mutant.name}: ${outcome.verdict}\n`);
    }
  } finally {
    stopListening();
    removeTree(root);
  }
  if (values.json) process.stdout.write(`${JSON.stringify({ mutants: outcomes }, undefined, 2)}\n`);
  else print(outcomes);
  return outcomes.every(({ verdict }) => verdict === 'seen') ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2)).catch((error: Error & { code?: string }) => {
  process.stderr.write(`mutants: ${error.message.split('\n', 1)[0]}\n`);
  return error instanceof UsageError || error.code?.startsWith('ERR_PARSE_ARGS') ? 2 : 1;
});
