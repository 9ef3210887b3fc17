/**
 * The driver's side of the unit's command queue (IOMMU spec §3.1); it is the one producer. A store
 * to cqt runs the commands before it returns.
 */

import { queueBase } from '../../hardware/queue-base.ts';
import {
  COMMAND_BYTES,
  CQCSR_CMD_TO,
  CQCSR_CQEN,
  CQCSR_CQON,
  CQCSR_ERRORS,
  CQCSR_W1C,
  OP_IODIR_INVAL_DDT,
  OP_IOFENCE_C,
  OP_IOTINVAL_GVMA,
  REG,
} from '../../hardware/regs.ts';
import type { IommuUnit } from '../../hardware/unit.ts';
import type { KernelRam } from './kernel-ram.ts';

/** One page of commands. */
const LOG2_ENTRIES = 8;
const ENTRIES = 1 << LOG2_ENTRIES;
const COMMAND_WORDS = COMMAND_BYTES / 4;
const AV = 1 << 10; // the second word has an address
const GV = 1 << 1; // bit 33: GSCID is valid
const DV = 1 << 1; // bit 33: DID is valid
const GSCID_SHIFT = 12; // bit 44
const DID_SHIFT = 8; // bit 40
/**
 * A fence that timed out is tried again. A device that has not moved on by then never will, because
 * a transaction takes microseconds.
 */
const FENCE_TRIES = 10;

export class CommandQueue {
  readonly #unit: IommuUnit;
  readonly #words: Int32Array;
  readonly #base: number;
  #tail = 0;

  constructor(unit: IommuUnit, ram: KernelRam) {
    this.#unit = unit;
    const pfn = ram.allocate();
    this.#words = ram.words;
    this.#base = ram.wordOf(pfn);
    unit.write32(REG.cqcsr, CQCSR_W1C); // off, whatever an earlier kernel left
    unit.writeRegister(REG.cqb, 8, queueBase(pfn, LOG2_ENTRIES));
    unit.write32(REG.cqt, 0);
    unit.write32(REG.cqcsr, CQCSR_CQEN);
    if ((unit.read32(REG.cqcsr) & CQCSR_CQON) === 0) throw new Error('IOMMU: command queue does not turn on');
  }

  /** Forgets every second-stage translation of a domain, and the cached entries of its tables. */
  invalidateDomain(gscid: number): void {
    this.#put(OP_IOTINVAL_GVMA, GV | (gscid << GSCID_SHIFT));
  }

  /** Forgets a domain's translation of the leaf that covers page vpn, and no more. */
  invalidateLeaf(gscid: number, vpn: number): void {
    this.#put(OP_IOTINVAL_GVMA | AV, GV | (gscid << GSCID_SHIFT), vpn);
  }

  /** Forgets the context of a device. */
  invalidateDevice(did: number): void {
    this.#put(OP_IODIR_INVAL_DDT, DV | (did << DID_SHIFT));
  }

  /**
   * Returns when every earlier command has taken effect and no device still uses what the commands
   * invalidated. A unit that cannot confirm this is broken. Memory that devices may still write
   * must not be given back, so that is fatal.
   */
  fence(): void {
    this.#put(OP_IOFENCE_C, 0);
    const unit = this.#unit;
    for (let tries = 0; ; tries++) {
      unit.write32(REG.cqt, this.#tail);
      const csr = unit.read32(REG.cqcsr);
      if (unit.read32(REG.cqh) === this.#tail && (csr & CQCSR_ERRORS) === 0) return;
      if ((csr & CQCSR_ERRORS & ~CQCSR_CMD_TO) !== 0 || tries === FENCE_TRIES) {
        throw new Error(`IOMMU: fence failed, cqcsr ${csr.toString(16)}`);
      }
      // W1C: goes on with the fence that timed out
      unit.write32(REG.cqcsr, CQCSR_CQEN | CQCSR_CMD_TO);
    }
  }

  /** Appends a command. `vpn` goes to bits 61:10 of the second word: the address >> 2. */
  #put(lo: number, hi: number, vpn = 0): void {
    const at = this.#base + this.#tail * COMMAND_WORDS;
    const words = this.#words;
    words[at] = lo;
    words[at + 1] = hi;
    words[at + 2] = (vpn % 2 ** 22) << 10;
    words[at + 3] = Math.floor(vpn / 2 ** 22);
    this.#tail = (this.#tail + 1) % ENTRIES; // a fence empties the queue long before it is full
  }
}
