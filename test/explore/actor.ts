/**
 * One actor of a scenario, in its thread. The bundle is evaluated over the modelled globals, and
 * the body runs when the thread gets the baton.
 */
import { createRequire } from 'node:module';
import { compileFunction } from 'node:vm';
import { Baton, Unwind } from './baton.ts';
import { type ActorAssignment, Control, LIBC, OUTCOME_RUNNING, OUTCOME_THREW } from './control.ts';
import { ModelledClock, modelledLibc } from './modelled-globals.ts';
import { ModelledMemory } from './modelled-memory.ts';
import type { ActorContext, LibcModel, Scenario } from './scenario.ts';

type Bundle = (
  require: (name: string) => unknown,
  module: { exports: Record<string, unknown> },
  exports: Record<string, unknown>,
  ...globals: unknown[]
) => void;

const ARRAYS = [
  Int8Array,
  Uint8Array,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
] as unknown as readonly Int32ArrayConstructor[];
const PARAMETERS = [
  'require',
  'module',
  'exports',
  'Atomics',
  'performance',
  'process',
  ...ARRAYS.map(({ name }) => name),
];

export class Actor {
  readonly #baton: Baton;
  readonly #words: Int32Array;
  readonly #clock: ModelledClock;
  readonly #run: () => void;

  constructor(assignment: ActorAssignment) {
    const { memory } = assignment;
    this.#baton = new Baton(assignment.index, assignment.buffers);
    this.#words = new Int32Array(assignment.buffers.control);
    this.#clock = new ModelledClock(this.#baton);
    let scenario: Scenario | undefined;
    let libc: LibcModel = {};
    // The names and the libc model are in the bundle that needs them: they are looked up when first
    // used.
    const shared = new ModelledMemory(this.#baton, memory, (buffer, word) => scenario?.names?.(buffer, word));
    const modelled = modelledLibc(shared, () => libc);
    const builtin = createRequire(import.meta.url);
    const require = (name: string): unknown => (name === LIBC ? modelled : builtin(name));
    const module = { exports: {} as Record<string, unknown> };
    const bundle = compileFunction(assignment.code, PARAMETERS, { filename: assignment.codeName }) as Bundle;
    const clock = this.#clock;
    const arrays = ARRAYS.map((array) => shared.constructorOf(array));
    bundle(require, module, module.exports, shared.atomics(), clock.performance(), clock.process(), ...arrays);
    scenario = Object.values(module.exports).find(
      (value): value is Scenario => (value as Partial<Scenario> | undefined)?.name === assignment.scenario,
    );
    if (!scenario) throw new Error(`${assignment.codeName} exports no scenario ${assignment.scenario}`);
    const context: ActorContext = { name: assignment.actor, effect: (label, act) => shared.effect(label, act) };
    const body = scenario.actors[assignment.actor]!;
    libc = scenario.libc?.(memory) ?? {};
    this.#run = () => body(memory, context);
  }

  /**
   * Runs the body whenever the baton comes; returns when the explorer is done with this assignment.
   */
  serve(): void {
    for (;;) {
      this.#baton.sleep(); // woken by the first grant of an execution, or by the explorer
      if (this.#words[Control.word.leaving] === 1) return;
      this.#baton.finish(this.#execute());
    }
  }

  #execute(): number {
    if (this.#words[Control.word.aborting] === 1) return OUTCOME_RUNNING;
    this.#baton.start();
    this.#clock.reset();
    try {
      this.#run();
    } catch (error) {
      if (error instanceof Unwind || this.#words[Control.word.aborting] === 1) return OUTCOME_RUNNING;
      this.#baton.write(String(error instanceof Error ? (error.stack ?? error.message) : error));
      return OUTCOME_THREW;
    }
    return OUTCOME_RUNNING;
  }
}
