/** Carries out the steps of one actor: a thread of the client, with its own way into the kernel. */
import { KernelClient } from '../../../vmm/client/kernel-client.ts';
import type { Step } from '../vector-file.ts';
import { eduDma } from './edu-dma.ts';
import { EMULATED_STEPS } from './emulated-steps.ts';
import type { Note } from './memory.ts';
import { PROCESS_STEPS } from './process-steps.ts';
import type { Assignment } from './protocol.ts';
import type { State } from './state.ts';
import type { StepTable } from './step-context.ts';
import { VFIO_STEPS } from './vfio-steps.ts';
import { Words } from './words.ts';

const STEPS: StepTable = { ...VFIO_STEPS, ...PROCESS_STEPS, ...EMULATED_STEPS, edu_dma: eduDma };

export interface InterpreterOptions {
  readonly socketPath: string;
  readonly devices: Assignment['devices'];
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

  /** The answer to a step. */
  perform(step: Step, state: State): string {
    const perform = Object.hasOwn(STEPS, step.op) ? STEPS[step.op]! : undefined;
    if (!perform) throw new RangeError(`${step.op} is for the main actor`);
    const words = new Words(state);
    const devices = this.#devices;
    return perform({ step, state, words, kernel: this.kernel, devices, note: this.#note });
  }
}
