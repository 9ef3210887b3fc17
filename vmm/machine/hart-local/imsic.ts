/**
 * The IMSIC of a hart: its interrupt files of M and S level (AIA 1.0 §3.1). There are none of VS
 * level.
 */
import { defineSection, type StateOf } from '../../../platform/section.ts';
import { type SharedPart, within } from '../../../platform/shared.ts';
import { FILE_FIELDS, FILE_STATE, type FileState, IMSIC_FILE_BYTES, ImsicFile, RESET_FILE } from './imsic-file.ts';
import { LEVELS, type Level, targetIdentity, targetLevel } from './interrupt-target.ts';
import type { Journal } from './journal.ts';

/**
 * The M-level file. `supervisor` is the S-level one, which is written only if it is not as after a
 * reset: a build that had none can take a guest that does not use it.
 */
export const IMSIC_SECTION = defineSection('imsic', 1, FILE_FIELDS, { supervisor: FILE_STATE });

export type ImsicState = StateOf<typeof IMSIC_SECTION>;

/** Size of the buffer for the files of this number of harts, those of a hart side by side. */
export const imsicBytes = (harts: number): number => harts * LEVELS.length * IMSIC_FILE_BYTES;

export class Imsic {
  readonly machine: ImsicFile;
  readonly supervisor: ImsicFile;

  /** A view of the hart's files in `shared`, which drive its lines in `control`. One per thread. */
  constructor(shared: SharedPart, control: Int32Array, hart: number) {
    const file = (level: Level): ImsicFile => {
      const at = imsicBytes(hart) + LEVELS.indexOf(level) * IMSIC_FILE_BYTES;
      return new ImsicFile(within(shared, at, IMSIC_FILE_BYTES), control, { hart, level });
    };
    this.machine = file('machine');
    this.supervisor = file('supervisor');
  }

  /**
   * An interrupt has come for this interruptTarget of the hart. Any thread may call it; the caller
   * wakes the hart.
   */
  receive(target: number): void {
    this[targetLevel(target)].setPending(targetIdentity(target));
  }

  /** Claims go into the journal from now on. */
  journalTo(journal: Journal | undefined): void {
    this.machine.journalTo(journal);
    this.supervisor.journalTo(journal);
  }

  reset(): void {
    this.machine.reset();
    this.supervisor.reset();
  }

  /** To be called only while no other thread sets interrupts pending. */
  save(): ImsicState {
    return stateOf(this.machine.save(), this.supervisor.save());
  }

  restore({ supervisor = RESET_FILE, ...machine }: ImsicState): void {
    this.machine.restore(machine);
    this.supervisor.restore(supervisor);
  }
}

/** Words of pending bits, by level. */
export type PendingBits = Readonly<Record<Level, readonly number[]>>;

export const pendingIn = ({ pending, supervisor = RESET_FILE }: ImsicState): PendingBits => ({
  machine: pending,
  supervisor: supervisor.pending,
});

/** The state with these pending bits in place of its own. */
export const withPending = ({ supervisor = RESET_FILE, ...machine }: ImsicState, bits: PendingBits): ImsicState =>
  stateOf({ ...machine, pending: bits.machine }, { ...supervisor, pending: bits.supervisor });

const isZero = (words: readonly number[]): boolean => words.every((word) => word === 0);

function stateOf(machine: FileState, supervisor: FileState): ImsicState {
  const { delivery, threshold, pending, enabled } = supervisor;
  const isReset = delivery === 0 && threshold === 0 && isZero(pending) && isZero(enabled);
  return IMSIC_SECTION.of({ ...machine, ...(isReset ? {} : { supervisor }) });
}
