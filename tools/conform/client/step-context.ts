/** What a step of a real process has at hand besides its system calls. */
import type { KernelClient } from '../../../vmm/client/kernel-client.ts';
import type { CallContext } from '../steps/call-context.ts';
import type { Note } from './memory.ts';

export interface StepContext extends CallContext {
  /** This thread's way into the kernel. */
  readonly kernel: KernelClient;
  /** Tells that something was done otherwise than asked. */
  readonly note: Note;
}
