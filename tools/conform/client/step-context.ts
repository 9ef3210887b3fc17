/** The data that a step of a real process gets besides its system calls. */

import type { CallContext } from '../steps/call-context.ts';
import type { ClientKernel } from './client-kernel.ts';
import type { Note } from './memory.ts';

export interface StepContext extends CallContext {
  /** This thread's way into the kernel. */
  readonly kernel: ClientKernel;
  /** Reports that something was done in another way than the step asks. */
  readonly note: Note;
}
