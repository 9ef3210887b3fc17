/**
 * The page of an interrupt file on the bus (AIA 1.0 §3.5): a store to it makes an identity pending.
 */
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import type { ImsicFile } from '../hart-local/imsic-file.ts';
import { interruptTarget, LEVELS, MOST_IDENTITY } from '../hart-local/interrupt-target.ts';
import type { MmioDevice } from './bus.ts';
import { IMSIC, IMSIC_PAGE_SIZE } from './memory-map.ts';

const SETEIPNUM_LE = 0;
const SETEIPNUM_BE = 4;

export class ImsicPage implements MmioDevice {
  readonly maxAccess = 4;
  readonly #file: ImsicFile;
  readonly #stored: (by: number) => void;

  /**
   * `stored` is called after a store has made an identity pending; `by` is the hart that stored.
   */
  constructor(file: ImsicFile, stored: (by: number) => void) {
    this.#file = file;
    this.#stored = stored;
  }

  load(_offset: number, size: AccessSize): bigint | undefined {
    return size === 4 ? 0n : undefined; // AIA §3.5: reads give zero
  }

  store(offset: number, size: AccessSize, value: bigint, by: number): boolean {
    if (size !== 4) return false;
    if (offset === SETEIPNUM_LE) this.#file.setPending(Number(value));
    else if (offset === SETEIPNUM_BE) this.#file.setPending(byteSwap(Number(value)));
    this.#stored(by);
    return true;
  }
}

/**
 * The interruptTarget of a message; 0: it goes to no seteipnum_le in the place of these pages. NOT
 * MODELLED: messages to any other address (AIA §3.5).
 */
export function messageTarget(gpa: number, data: number): number {
  const level = LEVELS.find((each) => gpa >= IMSIC[each].base && gpa < IMSIC[each].base + IMSIC[each].size);
  if (level === undefined || data > MOST_IDENTITY) return 0;
  const hart = (gpa - IMSIC[level].base) / IMSIC_PAGE_SIZE;
  return Number.isInteger(hart) ? interruptTarget(hart, data, level) : 0;
}

const byteSwap = (value: number): number =>
  (((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;
