/**
 * Carries out the steps of one actor. The actor is a thread of the client with its own way into the
 * kernel.
 */
import type { StepTable } from '../steps/call-context.ts';
import type { State } from '../steps/state.ts';
import { CALL_STEPS } from '../steps/table.ts';
import { type Answer, Words } from '../steps/words.ts';
import type { Step } from '../vector-file.ts';
import { callsOf } from './calls.ts';
import type { ClientKernel } from './client-kernel.ts';
import { enterKernel, type KernelWay } from './kernel-way.ts';
import type { Note } from './memory.ts';
import { PROCESS_STEPS } from './process-steps.ts';
import type { Assignment } from './protocol.ts';
import type { StepContext } from './step-context.ts';

const STEPS: StepTable<StepContext> = { ...CALL_STEPS, ...PROCESS_STEPS };

export interface InterpreterOptions extends KernelWay {
  readonly devices: Assignment['devices'];
  readonly note: Note;
}

export class Interpreter {
  readonly kernel: ClientKernel;
  readonly #devices: Assignment['devices'];
  readonly #note: Note;

  constructor({ devices, note, ...way }: InterpreterOptions) {
    this.kernel = enterKernel(way);
    this.#devices = devices;
    this.#note = note;
  }

  /** Carries out a step and returns its answer. */
  perform(step: Step, state: State): Answer<string> {
    const perform = Object.hasOwn(STEPS, step.op) ? STEPS[step.op]! : undefined;
    if (!perform) throw new RangeError(`${step.op} is for the main actor`);
    const words = new Words(state);
    const { kernel } = this;
    const calls = callsOf(kernel, state);
    return perform({ step, state, words, calls, kernel, devices: this.#devices, note: this.#note });
  }
}
