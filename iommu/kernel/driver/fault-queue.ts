/** The driver's side of the unit's fault queue (IOMMU spec §3.2); it is the one consumer. */
import { queueBase } from '../../hardware/queue-base.ts';
import { FAULT_BYTES, FQCSR_FQEN, FQCSR_FQOF, FQCSR_FQON, FQCSR_W1C, REG } from '../../hardware/regs.ts';
import type { IommuUnit } from '../../hardware/unit.ts';
import type { KernelRam } from './kernel-ram.ts';

const LOG2_ENTRIES = 7; // one page
const ENTRIES = 1 << LOG2_ENTRIES;
const FAULT_WORDS = FAULT_BYTES / 4;
const KEPT = 16;

export interface Fault {
  readonly did: number;
  /** §3.2 table of causes, e.g. 21 and 23: guest page fault on a read and on a write. */
  readonly cause: number;
  readonly write: boolean;
  readonly iova: bigint;
}

const TTYP_WRITE = 3;

export class FaultQueue {
  /** Records read so far. */
  count = 0;
  /** Times the queue was found overflown. Records were lost each time. */
  overflows = 0;
  /** The newest records, oldest first. */
  readonly last: Fault[] = [];
  readonly #unit: IommuUnit;
  readonly #words: Int32Array;
  readonly #base: number;

  constructor(unit: IommuUnit, ram: KernelRam) {
    this.#unit = unit;
    const pfn = ram.allocate();
    this.#words = ram.words;
    this.#base = ram.wordOf(pfn);
    unit.write32(REG.fqcsr, FQCSR_W1C); // off, whatever an earlier kernel left
    unit.writeRegister(REG.fqb, 8, queueBase(pfn, LOG2_ENTRIES));
    unit.write32(REG.fqh, 0);
    unit.write32(REG.fqcsr, FQCSR_FQEN);
    if ((unit.read32(REG.fqcsr) & FQCSR_FQON) === 0) throw new Error('IOMMU: fault queue does not turn on');
  }

  /** Takes all records out of the queue and lets an overflown one record again. */
  drain(): void {
    const unit = this.#unit;
    const tail = unit.read32(REG.fqt);
    let head = unit.read32(REG.fqh);
    for (; head !== tail; head = (head + 1) % ENTRIES) {
      this.count++;
      if (this.last.length === KEPT) this.last.shift();
      this.last.push(this.#record(head));
    }
    unit.write32(REG.fqh, head);
    if ((unit.read32(REG.fqcsr) & FQCSR_FQOF) === 0) return;
    this.overflows++;
    unit.write32(REG.fqcsr, FQCSR_FQEN | FQCSR_FQOF);
  }

  #record(index: number): Fault {
    const at = this.#base + index * FAULT_WORDS;
    const word = (n: number): number => this.#words[at + n]! >>> 0;
    return {
      cause: word(0) & 0xfff,
      write: ((word(1) >>> 2) & 0x3f) === TTYP_WRITE,
      did: word(1) >>> 8,
      iova: (BigInt(word(5)) << 32n) | BigInt(word(4)),
    };
  }
}
