/**
 * Memory-resident interrupt files (MRIFs; AIA 1.0 §8.3, §8.5.2). A file is 512 bytes of memory
 * with a pending bit and an enable bit for each of 2048 identities, in pairs of doublewords. The
 * unit sets the pending bit of a message by an atomic `or` (capabilities.AMO_MRIF), and tells
 * software by a message of its own. It tells of each message, whether the identity is enabled or
 * not.
 *
 * Software may change the bits at any time, by `or` and `and`. The unit caches no way to a file: a
 * message that is under way is in its file when an IOFENCE.C has returned.
 */
import type { PhysicalMemory } from '../bus/physical.ts';
import type { MsiFault } from './ipsr.ts';
import { CAUSE_MRIF_ACCESS } from './regs.ts';

export const INTERRUPT_FILE_BYTES = 512;

/** What an entry in MRIF mode leads to. */
export interface InterruptFileEntry {
  /** Where the file is: a page, and a multiple of 512 in it. */
  readonly filePfn: number;
  readonly fileOffset: number;
  /** The page at whose start the unit stores its message, and the data. */
  readonly noticePfn: number;
  readonly notice: number;
}

/** Offsets of a message in the page of its file; all others are accepted and discarded. */
const LITTLE_ENDIAN = 0;
const BIG_ENDIAN = 4;

/** Word of the pending bits of identities 32n to 32n + 31. The enable bits are two words on. */
const pendingWord = (n: number): number => (n >>> 1) * 4 + (n & 1);

export class InterruptFiles {
  readonly #physical: PhysicalMemory;
  readonly #noticeFault: MsiFault;

  /** `noticeFault` hears of messages of the unit that nothing has taken. */
  constructor(physical: PhysicalMemory, noticeFault: MsiFault) {
    this.#physical = physical;
    this.#noticeFault = noticeFault;
  }

  /**
   * A device has stored `value`, 32 bits, at `offset` (a multiple of 4) of the page of a file.
   * Returns 0, or the cause of the fault.
   */
  store(entry: InterruptFileEntry, offset: number, value: number): number {
    const data = offset === BIG_ENDIAN ? byteSwap(value) : value;
    if ((offset !== LITTLE_ENDIAN && offset !== BIG_ENDIAN) || data >>> 11 !== 0) return 0;
    const memory = this.#physical.resolve(entry.filePfn);
    if (!memory?.isRam) return CAUSE_MRIF_ACCESS;
    const file = (entry.filePfn - memory.startPfn) * 1024 + entry.fileOffset / 4;
    Atomics.or(memory.words, file + pendingWord(data >>> 5), 1 << (data & 31));
    this.#tell(entry); // after the bit: who is told finds it
    return 0;
  }

  #tell({ noticePfn, notice }: InterruptFileEntry): void {
    const range = this.#physical.resolve(noticePfn);
    if (range?.write32((noticePfn - range.startPfn) * 4096, notice)) return;
    this.#noticeFault((noticePfn << 12) | 0, Math.floor(noticePfn / 2 ** 20));
  }
}

const byteSwap = (value: number): number =>
  ((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24);
