/** Deliberate defects, one for each invariant. They prove that the run can fail. */
import type { Invariant } from './invariants.ts';

/** Defect → the invariant that must be reported as broken. */
export const DEFECTS = {
  'keep-mapping': '1', // a client says that it has unmapped memory that a device writes to
  'hidden-unmap': '2', // a client unmaps such memory and does not note it
  'forget-invalid': '3', // a client makes a vaddr invalid and does not note it
  'drop-interrupt': '4', // a device loses one interrupt
  'bad-image': '5', // a client execs a program that ends at once
  'hidden-peer-unmap': '2', // a client unmaps a device's memory and does not note it
  'hidden-keeper-unmap': '2', // a client unmaps memory just before a kexec and does not note it
  'drop-held-interrupt': '4', // a device loses one of the interrupts that pend over a kexec
  'deaf-guardian': '5', // nobody goes on after a successor that was no good
  'kill-host': '6',
} as const satisfies Readonly<Record<string, Invariant>>;

export type Defect = keyof typeof DEFECTS;

/** Those that only a kexec can show. */
export const KEXEC_DEFECTS: readonly Defect[] = ['hidden-keeper-unmap', 'drop-held-interrupt'];
export const DEFECT_NAMES = Object.keys(DEFECTS) as readonly Defect[];
