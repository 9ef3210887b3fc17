/**
 * A systematic explorer of the shared-memory protocols: what loom and shuttle are for Rust.
 *
 * The model. Each actor of a scenario runs in a real thread. The protocol code is the product's own
 * source, bundled at load with nothing changed (but for a mutant's replacement) and evaluated as a
 * function whose parameters shadow globals: Atomics, the typed arrays, performance and process;
 * platform/libc/ is replaced by the scenario's model. Each Atomics operation and each plain
 * access through a typed array on one of the scenario's buffers, each libc call and each
 * context.effect() is a step. Exactly one actor runs at a time: before a step it asks the
 * scheduler, which runs in its own thread (baton.ts), so that going on costs no thread switch. So
 * runs are deterministic, and a schedule is a list of picks.
 *
 * - Memory is sequentially consistent. All protocol words are seq_cst Atomics, as in the product.
 *   Plain accesses are in program order, an element or a whole set() at a time: data published too
 *   early is seen, what the processor or V8 might reorder between plain accesses is not.
 * - `Atomics.wait` on a word with the expected value blocks until a modelled notify, first come
 *   first served. Time stands still but for time-outs, which fire as the scenario says
 *   (`timeouts`). With `never`, a lost wake-up is a deadlock.
 * - An actor that loads one word three times in a row, with nothing else between, is taken to spin
 *   on it: it goes on when the word is written or nobody else can, and one that never sees it
 *   written is in a deadlock. Looking at the clock is not spinning.
 * - All interleavings with at most `preemptions` preemptions are enumerated depth first by
 *   re-execution, with 0 first, then 1, …, so that the first failure is one with the fewest.
 *   Switching away from an actor that blocked or ended is free. Preemptions in front of an
 *   operation on a word that only one actor uses, or that nobody writes, are left out: they equal
 *   one in front of the actor's next conflicting operation. The conflicting words are learnt while
 *   exploring; when one is found, the enumeration starts again.
 * - With `seed` the picks are random instead, for scenarios too large to enumerate.
 * - An execution fails when no actor can run and one has not returned (deadlock), when an actor or
 *   check() throws, or after `maxSteps`.
 *
 * Why threads and not generators made of the source: constructors, callbacks of built-ins and
 * getters cannot yield, and the code would be a transformed one; with the scheduler in the actors'
 * threads, an execution costs a handful of thread switches only.
 */
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Worker } from 'node:worker_threads';
import { assign, kill, release } from './actors.ts';
import { bundle } from './bundle.ts';
import { Enumeration } from './enumeration.ts';
import { Execution } from './execution.ts';
import { renderFailure } from './report.ts';
import { type Mutant, type Scenario, scenarioPath } from './scenario.ts';
import { decodeSchedule, encodeSchedule } from './schedule.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

export interface ExploreOptions {
  /** Bound of preemptions; 2 by default. */
  readonly preemptions?: number;
  /** Steps after which an execution counts as one that does not end. */
  readonly maxSteps?: number;
  readonly mutant?: Mutant;
  /** Random schedules from this seed instead of all within the bound. */
  readonly seed?: number;
  /** How many random schedules; 1000 by default. */
  readonly executions?: number;
}

export interface Failure {
  readonly kind: 'deadlock' | 'steps' | 'threw' | 'check';
  /** First line of what went wrong. */
  readonly message: string;
  /** `name:schedule`; EXPLORE_REPLAY takes it, and replay(). */
  readonly replay: string;
  /** The last events of every actor in order, and how to run it again. */
  readonly report: string;
}

export interface Exploration {
  readonly executions: number;
  readonly steps: number;
  readonly seconds: number;
  readonly failure?: Failure;
}

const SLICE_MS = 100;

/**
 * Explores a scenario until the first failure, or to the end. EXPLORE_REPLAY runs one schedule
 * instead.
 */
export async function explore(scenario: Scenario, options: ExploreOptions = {}): Promise<Exploration> {
  const wanted = process.env.EXPLORE_REPLAY;
  if (wanted?.startsWith(`${title(scenario, options)}:`)) {
    const replayed = await replay(scenario, wanted, options);
    console.log(replayed.failure?.report ?? `${wanted} ends well`);
    return replayed;
  }
  return withExecution(scenario, options, async (execution) => {
    const total = { executions: 0, steps: 0, seconds: 0 };
    const start = performance.now();
    const schedules = options.seed === undefined ? systematic(execution, options) : random(execution, options);
    let slice = start + SLICE_MS;
    for (const failed of schedules) {
      total.executions++;
      total.steps += execution.trace().length;
      total.seconds = (performance.now() - start) / 1000;
      if (failed) return { ...total, failure: describe(scenario, options, execution) };
      if (performance.now() < slice) continue;
      await new Promise((resolve) => setImmediate(resolve)); // the test runner's turn
      slice = performance.now() + SLICE_MS;
    }
    return total;
  });
}

/** Runs the one schedule of a replay string. */
export async function replay(scenario: Scenario, text: string, options: ExploreOptions = {}): Promise<Exploration> {
  const picks = decodeSchedule(text.slice(title(scenario, options).length + 1));
  return withExecution(scenario, options, async (execution) => {
    const failed = execution.run({ picks, preemptions: 0, random: 0 });
    const total = { executions: 1, steps: execution.trace().length, seconds: 0 };
    return failed ? { ...total, failure: describe(scenario, options, execution) } : total;
  });
}

const title = (scenario: Scenario, { mutant }: ExploreOptions): string =>
  mutant ? `${scenario.name}+${mutant.name}` : scenario.name;

/** Every schedule within the bound; yields whether it failed. */
function* systematic(execution: Execution, { preemptions = 2 }: ExploreOptions): Generator<boolean> {
  for (let bound = 0; bound <= preemptions; bound++) {
    let enumeration = new Enumeration();
    let bounded = false;
    let picks: number[] | undefined = [];
    while (picks) {
      yield execution.run({ picks, preemptions: bound, random: 0 });
      if (execution.preemptionsLeft() === 0) bounded = true;
      if (execution.learned()) {
        enumeration = new Enumeration();
        picks = [];
      } else {
        picks = enumeration.next(execution.trace());
      }
    }
    if (!bounded) return; // no execution had more choices with a higher bound
  }
}

function* random(execution: Execution, { seed = 1, executions = 1000 }: ExploreOptions): Generator<boolean> {
  for (let i = 0; i < executions; i++) {
    // Spread by a multiplicative hash: neighbouring seeds must not begin alike. Never 0, which
    // xorshift cannot leave.
    const state = Math.imul(seed * executions + i + 1, 0x9e3779b1) | 1;
    yield execution.run({ picks: [], preemptions: Number.MAX_SAFE_INTEGER, random: state });
  }
}

/** The failure of the last execution, run again with a log: it must fail alike. */
function describe(scenario: Scenario, options: ExploreOptions, execution: Execution): Failure {
  const first = execution.failure()!;
  const schedule = encodeSchedule(execution.trace());
  execution.run({ picks: decodeSchedule(schedule), preemptions: 0, random: 0, logging: true });
  const again = execution.failure();
  if (again?.kind !== first.kind || again.message !== first.message) {
    throw new Error(
      `${title(scenario, options)}: not deterministic: ${first.message}, then ${again?.message ?? 'nothing'}`,
    );
  }
  const path = relative(root, scenarioPath(scenario)).replace('.scenario.ts', '.test.ts');
  const text = `${title(scenario, options)}:${schedule}`;
  return {
    ...first,
    replay: text,
    report: renderFailure({
      failure: first,
      log: execution.log(),
      actors: Object.keys(scenario.actors),
      replay: text,
      path,
    }),
  };
}

async function withExecution(
  scenario: Scenario,
  options: ExploreOptions,
  act: (execution: Execution) => Promise<Exploration>,
): Promise<Exploration> {
  const execution = new Execution(scenario, options.maxSteps ?? 2000);
  const code = await bundle(scenarioPath(scenario), ...(options.mutant ? [options.mutant] : []));
  const workers: readonly Worker[] = await assign(execution.assignments(code));
  let result: Exploration;
  try {
    result = await act(execution);
  } catch (error) {
    await kill(workers); // one of them may hang in plain code
    throw error;
  }
  await release(workers, () => execution.leave());
  return result;
}
