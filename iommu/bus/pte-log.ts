/**
 * The last writes to IOMMU page tables, in shared memory of the board: a kernel's writes are told
 * by the next kernel, too. Entries that were written in one go, in one table, are one record. There
 * is one writer at a time, the kernel of the moment, and it is the reader as well: a next kernel
 * begins when the one before has ended. So the words need no order.
 */
import { atomic32, defineShared, word64 } from '../../platform/shared.ts';

/** Records that are kept. */
export const PTE_LOG_RECORDS = 1024;

const Header = defineShared('pte log', {
  appended: word64, // records ever appended; written by the kernel of the moment
});

const Record = defineShared('pte log record', {
  timeNs: word64, // CLOCK_MONOTONIC
  vpn: word64,
  count: atomic32,
  level: atomic32,
  oldLo: atomic32,
  oldHi: atomic32,
  newLo: atomic32,
  newHi: atomic32,
  unit: atomic32,
  kernel: atomic32,
  pid: atomic32, // 0: no process
});

const RECORD_WORDS = Record.size / 4;
const HEADER_WORDS = Header.size / 4;

/** Entries of one level, one behind the other in one table. */
export interface PteRun {
  /** First page that the first entry covers. */
  readonly vpn: number;
  readonly count: number;
  /** 0: the lowest one. */
  readonly level: number;
  /** The first entry before and after, in two halves. */
  readonly oldLo: number;
  readonly oldHi: number;
  readonly newLo: number;
  readonly newHi: number;
}

/** When and by whom. */
export interface WrittenBy {
  readonly timeNs: number;
  /** Index of the IOMMU unit whose driver wrote. */
  readonly unit: number;
  /** How many kernels there were before the one that wrote. */
  readonly kernel: number;
  /** The process in whose system call it was; 0: in none. */
  readonly pid: number;
}

export interface LoggedRun extends PteRun, WrittenBy {}

export const createPteLog = (): SharedArrayBuffer => new SharedArrayBuffer(Header.size + PTE_LOG_RECORDS * Record.size);

export class PteLog {
  readonly #words: Int32Array;
  readonly #longs: Float64Array;

  constructor(log: SharedArrayBuffer) {
    this.#words = new Int32Array(log);
    this.#longs = new Float64Array(log);
  }

  /** HOT (once for each run of leaves; `npm run bench`, map). */
  append(run: PteRun, { unit, kernel, pid, timeNs }: WrittenBy): void {
    const longs = this.#longs;
    const words = this.#words;
    const appended = longs[Header.word64.appended]!;
    const at = HEADER_WORDS + (appended % PTE_LOG_RECORDS) * RECORD_WORDS;
    longs[at / 2 + Record.word64.timeNs] = timeNs;
    longs[at / 2 + Record.word64.vpn] = run.vpn;
    words[at + Record.word.count] = run.count;
    words[at + Record.word.level] = run.level;
    words[at + Record.word.oldLo] = run.oldLo;
    words[at + Record.word.oldHi] = run.oldHi;
    words[at + Record.word.newLo] = run.newLo;
    words[at + Record.word.newHi] = run.newHi;
    words[at + Record.word.unit] = unit;
    words[at + Record.word.kernel] = kernel;
    words[at + Record.word.pid] = pid;
    longs[Header.word64.appended] = appended + 1;
  }

  /**
   * The runs that were written at `fromNs` or later, the oldest first. `whole`: none of them is
   * forgotten.
   */
  since(fromNs: number): { readonly runs: LoggedRun[]; readonly whole: boolean } {
    const appended = this.#longs[Header.word64.appended]!;
    const first = Math.max(0, appended - PTE_LOG_RECORDS);
    const runs: LoggedRun[] = [];
    for (let number = appended - 1; number >= first; number--) {
      const run = this.#read(number);
      if (run.timeNs < fromNs) return { runs: runs.reverse(), whole: true };
      runs.push(run);
    }
    return { runs: runs.reverse(), whole: first === 0 };
  }

  #read(number: number): LoggedRun {
    const at = HEADER_WORDS + (number % PTE_LOG_RECORDS) * RECORD_WORDS;
    const word = (index: number): number => this.#words[at + index]!;
    const long = (index: number): number => this.#longs[at / 2 + index]!;
    return {
      timeNs: long(Record.word64.timeNs),
      vpn: long(Record.word64.vpn),
      count: word(Record.word.count),
      level: word(Record.word.level),
      oldLo: word(Record.word.oldLo),
      oldHi: word(Record.word.oldHi),
      newLo: word(Record.word.newLo),
      newHi: word(Record.word.newHi),
      unit: word(Record.word.unit),
      kernel: word(Record.word.kernel),
      pid: word(Record.word.pid),
    };
  }
}
