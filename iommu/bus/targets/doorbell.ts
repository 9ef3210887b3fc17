/** The page where MSIs are stored: a 32-bit store raises the interrupt that is its data. */
import { DoorbellTable } from '../interrupts.ts';
import type { Target } from './target.ts';

export interface DoorbellRange {
  readonly kind: 'doorbell';
  readonly start: number;
  readonly size: number;
  readonly interrupts: SharedArrayBuffer;
  /** Where interrupt pages are. */
  readonly pages?: SharedArrayBuffer;
}

/**
 * The doorbell page as a target. It reads as 0, as an interrupt file of IMSIC does, and ignores
 * stores of other sizes.
 */
export class DoorbellTarget implements Target {
  readonly #table: DoorbellTable;

  constructor({ interrupts, pages }: DoorbellRange) {
    this.#table = new DoorbellTable(interrupts, pages);
  }

  read(_at: number, dst: Uint8Array): boolean {
    dst.fill(0);
    return true;
  }

  write(at: number, src: Uint8Array): boolean {
    if (src.length === 4 && at % 4 === 0) {
      this.#table.ring((src[0]! | (src[1]! << 8) | (src[2]! << 16) | (src[3]! << 24)) >>> 0);
    }
    return true;
  }

  read32(): number {
    return 0;
  }

  write32(_at: number, value: number): boolean {
    this.#table.ring(value >>> 0);
    return true;
  }
}
