/**
 * Depth-first enumeration of all schedules within the bound of preemptions. Schedules that are
 * equal to others are left out:
 *
 * - A choice in a state that was met before with as many preemptions left is not enumerated again,
 *   and nothing after it is: everything that can follow is enumerated from there (history.ts).
 * - A preemption of actor a by b before a's access X equals one after X, if in no execution with
 *   the latter anything conflicts with X until a goes on. The latter is deeper, so it has been
 *   enumerated before.
 */
import { DEFAULT, STATE_WORDS, TIMEOUT } from './control.ts';
import { defaultPick, lowest, type Trace } from './schedule.ts';

/**
 * An access as a number: buffer, word and whether it may write. WIDE conflicts with every access.
 */
export const encodeAccess = (buffer: number, word: number, count: number, write: boolean): number =>
  count === 1 ? ((buffer + 1) << 26) | (word << 1) | (write ? 1 : 0) : WIDE;
const WIDE = -1;
const NOTHING = 0;

/** What was accessed while an actor was preempted, in all executions of one alternative. */
class Absence {
  /** Word, as an encoded access without the write bit, to whether it was written. */
  readonly #words = new Map<number, boolean>();
  #everything = false;

  add(access: number): void {
    if (access === WIDE) this.#everything = true;
    else if (access !== NOTHING)
      this.#words.set(access >> 1, (access & 1) === 1 || this.#words.get(access >> 1) === true);
  }

  /** An execution was cut short: anything may have come. */
  addEverything(): void {
    this.#everything = true;
  }

  conflicts(access: number): boolean {
    if (this.#everything || access === WIDE) return true;
    const written = this.#words.get(access >> 1);
    return written !== undefined && (written || (access & 1) === 1);
  }
}

/** A step of the current path at which there is a choice. */
interface Choice {
  readonly step: number;
  readonly options: number;
  readonly first: number;
  /** The actor that goes on by default, −1 if the last one blocked or ended. */
  readonly runner: number;
  /** What the runner accesses when it goes on. */
  readonly access: number;
  /** The runner's next choice when it goes on; undefined if it blocks or ends before. */
  after: Choice | undefined;
  pick: number;
  readonly absences: Map<number, Absence>;
}

export class Enumeration {
  /** Most preemptions left with which a state was met. */
  readonly #met = new Map<number, number>();
  #path: Choice[] = [];
  /** Leading steps of the execution that were decided. */
  #length = 0;

  /**
   * The leading picks of the schedule after the one that was just run; undefined when all have been
   * enumerated.
   */
  next(trace: Trace): number[] | undefined {
    const end = this.#extend(trace);
    this.#noteAbsences(trace, end);
    for (;;) {
      const choice = this.#path.at(-1);
      if (!choice) return undefined;
      for (let untried = laterOptions(choice); untried !== 0; untried &= untried - 1) {
        choice.pick = lowest(untried);
        if (equalsLater(choice)) continue;
        this.#length = choice.step + 1;
        return [...trace.picks.subarray(0, choice.step), choice.pick];
      }
      this.#path.pop();
    }
  }

  /**
   * Adds the choices of the steps after the leading ones, up to the first in a known state; returns
   * that step.
   */
  #extend(trace: Trace): number {
    let last: Choice | undefined;
    for (let step = this.#length; step < trace.length; step++) {
      const options = trace.options[step]!;
      const previous = step > 0 ? actorOf(trace.picks[step - 1]!) : DEFAULT;
      if (last && previous !== last.runner) last = undefined;
      if ((options & (options - 1)) === 0) continue;
      if (!this.#isNew(trace.states, step)) return step;
      const first = defaultPick(previous, options);
      const runner = first === previous ? previous : -1;
      const access = trace.accesses[step]!;
      const choice = { step, options, first, runner, access, after: undefined, pick: first, absences: new Map() };
      if (last && runner >= 0) last.after = choice;
      last = runner >= 0 ? choice : undefined;
      this.#path.push(choice);
    }
    return trace.length;
  }

  #isNew(states: Int32Array, step: number): boolean {
    const at = step * STATE_WORDS;
    // 53 bits: exact in a number
    const state = (states[at]! >>> 0) * 2 ** 21 + (states[at + 1]! >>> 11);
    const preemptions = states[at + 2]!;
    if ((this.#met.get(state) ?? -1) >= preemptions) return false;
    this.#met.set(state, preemptions);
    return true;
  }

  /**
   * Adds what this execution accessed while an actor was preempted; steps from `end` on were not
   * enumerated here.
   */
  #noteAbsences(trace: Trace, end: number): void {
    for (const choice of this.#path) {
      if (choice.runner < 0 || choice.pick === choice.first) continue;
      let absence = choice.absences.get(choice.pick);
      if (!absence) {
        absence = new Absence();
        choice.absences.set(choice.pick, absence);
      }
      for (let step = choice.step; step < trace.length && actorOf(trace.picks[step]!) !== choice.runner; step++) {
        if (step >= end) {
          absence.addEverything();
          break;
        }
        absence.add(trace.accesses[step]!);
      }
    }
  }
}

const actorOf = (pick: number): number => (pick >= TIMEOUT ? pick - TIMEOUT : pick);

/** Options that come after the current pick: the default first, then upwards. */
function laterOptions({ options, first, pick }: Choice): number {
  const others = options & ~(1 << first);
  return pick === first ? others : others & ~((2 << pick) - 1);
}

/**
 * Whether the alternative that `choice` has just picked equals the same one at the runner's next
 * choice.
 */
function equalsLater(choice: Choice): boolean {
  const { after, pick, access, absences } = choice;
  if (!after || pick >= TIMEOUT) return false;
  const absence = after.absences.get(pick);
  if (!absence || absence.conflicts(access)) return false;
  absences.set(pick, absence);
  return true;
}
