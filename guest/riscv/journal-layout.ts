/**
 * The layout of the journal of the harts, in shared memory. It has two writers on one thread: the
 * machine's Journal (vmm/machine/hart-local/journal.ts), and translated code, which writes the
 * entry of a store itself (translate/journal.ts). Whoever reads it does so after their death.
 *
 * An entry is a store to RAM, or an interrupt that was claimed. It comes before what it tells.
 */
import { atomic32, bytes, defineShared } from '../../platform/shared.ts';

export const HartJournal = defineShared('hart journal', {
  /** The hart's thread: tag of a state << COUNT_BITS | entries after it. Publishes the entries. */
  head: atomic32,
  pad0: bytes(60),
  /**
   * The hart's thread: number of the state after which an access outside RAM began, 0 for none.
   * Publishes kind and gpa.
   */
  accessAfter: atomic32,
  accessKind: atomic32,
  gpaLow: atomic32,
  gpaHigh: atomic32,
  pad1: bytes(48),
  // entries follow
});

/** The low bits of the head: how many entries there are. */
export const COUNT_BITS = 16;
export const COUNT_MASK = 0xffff;

/**
 * Words of an entry: offset in RAM, size, old value, new value. A value has 64 bits, of which those
 * above the size mean nothing. A claim has size 0 and, as offset, its interruptTarget.
 */
export const [AT, SIZE, OLD, NEW, ENTRY_WORDS] = [0, 1, 2, 4, 6] as const;
export const ENTRY_BYTES = 4 * ENTRY_WORDS;
export const CLAIM = 0;

const ENTRIES = 32768;

/** Size of the journal of a machine. */
export const JOURNAL_BYTES = HartJournal.size + ENTRIES * ENTRY_BYTES;

/** No instruction makes more; a write of eip makes up to 64, and ends the slice. */
export const MOST_OF_INSTRUCTION = 4;
/** The journal closes when it has no room for so many instructions. */
export const LEAST_INSTRUCTIONS = 2048;
