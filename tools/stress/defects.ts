/** Defects on purpose, one for each invariant: the proof that the run can fail. */
import { UsageError } from '../cli/command.ts';
import type { Invariant } from './invariants.ts';

/** Defect → the invariant that must be found broken. */
export const DEFECTS = {
  'keep-mapping': '1', // a client says that it has unmapped what a device writes to
  'hidden-unmap': '2', // a client unmaps it and takes no note
  'forget-invalid': '3', // a client makes a vaddr invalid and takes no note
  'drop-interrupt': '4', // a device loses one
  'bad-image': '5', // a client execs something that ends at once
  'kill-host': '6',
} as const satisfies Readonly<Record<string, Invariant>>;

export type Defect = keyof typeof DEFECTS;

export function parseDefect(text: string): Defect {
  if (Object.hasOwn(DEFECTS, text)) return text as Defect;
  throw new UsageError(`--inject: one of ${Object.keys(DEFECTS).join(', ')}, not '${text}'`);
}
