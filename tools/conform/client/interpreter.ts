/**
 * Carries out the steps of one actor. The actor is a thread of the client with its own way into the
 * kernel.
 */
import { KernelClient } from '../../../vmm/client/kernel-client.ts';
import type { StepTable } from '../steps/call-context.ts';
import type { Note, ProcessContext } from '../steps/process-calls.ts';
import { PROCESS_STEPS } from '../steps/process-steps.ts';
import type { State } from '../steps/state.ts';
import { CALL_STEPS } from '../steps/table.ts';
import { type Answer, Words } from '../steps/words.ts';
import type { Step } from '../vector-file.ts';
import { callsOf } from './calls.ts';
import type { Assignment, ThreadData } from './protocol.ts';

const STEPS: StepTable<ProcessContext> = { ...CALL_STEPS, ...PROCESS_STEPS };

export interface InterpreterOptions extends ThreadData {
  readonly note: Note;
}

export class Interpreter {
  readonly kernel: KernelClient;
  readonly #devices: Assignment['devices'];
  readonly #note: Note;

  constructor({ socketPath, devices, note }: InterpreterOptions) {
    this.kernel = new KernelClient(socketPath);
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
    return perform({ step, state, words, calls, host: kernel, devices: this.#devices, note: this.#note });
  }
}
