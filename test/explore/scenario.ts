/**
 * A scenario: a few actors over shared buffers, and the condition that must hold after every
 * interleaving of them. A scenario file (*.scenario.ts) is loaded twice: its test imports it on the
 * main thread (memory, check), and each actor's thread evaluates it, bundled with the protocol that
 * it drives (actors, libc). So it has no side effects.
 */
import { fileURLToPath } from 'node:url';

/**
 * The shared buffers of a scenario, by name. All Atomics on them are scheduling points; other
 * buffers are private.
 */
export type Memory = Readonly<Record<string, SharedArrayBuffer>>;

/** What an actor can ask of the explorer. */
export interface ActorContext {
  readonly name: string;
  /**
   * One step that is no access to a shared word: an effect such as a register's. What `act` does is
   * not a step of its own.
   */
  effect<T>(label: string, act: () => T): T;
}

/**
 * libc functions as the scenario models them; each call is a scheduling point and then runs in one
 * step.
 */
export type LibcModel = Readonly<Record<string, (...args: never[]) => unknown>>;

/** A function of a LibcModel that is no step of its own: its accesses to the buffers are steps. */
export const inSteps = <F extends (...args: never[]) => unknown>(run: F): F => Object.assign(run, { inSteps: true });

/**
 * When a bounded Atomics.wait may time out. `never`: a lost wake-up is a deadlock. `idle`: when no
 * actor can run otherwise, as if time-outs were far away. `any`: at every scheduling point, each
 * costing one preemption.
 */
export type Timeouts = 'never' | 'idle' | 'any';

export interface Scenario<M extends Memory = Memory> {
  /** import.meta.url of the scenario file. */
  readonly file: string;
  /** Unique in its file; begins the replay string. */
  readonly name: string;
  /**
   * Makes the buffers in their initial state; called once, the bytes are restored before every
   * execution.
   */
  readonly memory: () => M;
  /**
   * At most 8; each runs in a thread of its own, from the start in every execution. No state may
   * outlive a run but in memory.
   */
  readonly actors: Readonly<Record<string, (memory: M, context: ActorContext) => void>>;
  /** Actors that serve for ever: an execution ends when all others have and these are blocked. */
  readonly daemons?: readonly string[];
  /** Throws when the outcome of an execution is wrong. */
  readonly check?: (memory: M) => void;
  /**
   * What platform/libc/ does in the actors' threads; a function that is not modelled throws when
   * called.
   */
  readonly libc?: (memory: M) => LibcModel;
  readonly timeouts?: Timeouts;
  /** Names a word for the reports: buffer and index of the 32-bit word in it. */
  readonly names?: (buffer: string, word: number) => string | undefined;
}

/**
 * A scenario with the names of its buffers checked, and then forgotten: the explorer knows any
 * number of buffers.
 */
export function defineScenario<M extends Memory>(scenario: Scenario<M>): Scenario {
  const actors = Object.keys(scenario.actors);
  if (actors.length === 0 || actors.length > 8)
    throw new Error(`${scenario.name}: 1 to 8 actors, not ${actors.length}`);
  return scenario as unknown as Scenario;
}

/**
 * A seeded bug: a replacement in one source file, made as it is loaded into the actors' threads.
 */
export interface Mutant {
  readonly name: string;
  /** Path from the root of the project. */
  readonly file: string;
  /** Must occur exactly once in the file, else the mutant is out of date and the test fails. */
  readonly find: string;
  readonly replace: string;
}

/** Path of a scenario's file. */
export const scenarioPath = (scenario: Pick<Scenario, 'file'>): string => fileURLToPath(scenario.file);
