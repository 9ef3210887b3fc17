/** What a step has at hand while it is carried out. */
import type { KernelClient } from '../../../vmm/client/kernel-client.ts';
import type { Step } from '../vector-file.ts';
import type { Note } from './memory.ts';
import type { Assignment } from './protocol.ts';
import type { State } from './state.ts';
import type { Words } from './words.ts';

export interface StepContext {
  readonly step: Step;
  readonly state: State;
  readonly words: Words;
  /** This thread's way into the kernel. */
  readonly kernel: KernelClient;
  readonly devices: Assignment['devices'];
  /** Tells that something was done otherwise than asked. */
  readonly note: Note;
}

/** Operation → what it does; the answer as the vectors write it. */
export type StepTable = Readonly<Record<string, (context: StepContext) => string>>;
