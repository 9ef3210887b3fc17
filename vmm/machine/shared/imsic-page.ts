/**
 * The page of one hart's interrupt file on the bus (AIA 1.0 §3.5): a store to it makes an identity
 * pending.
 */
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import type { Imsic } from '../hart-local/imsic.ts';
import type { MmioDevice } from './bus.ts';

const SETEIPNUM_LE = 0;
const SETEIPNUM_BE = 4;

export class ImsicPage implements MmioDevice {
  readonly maxAccess = 4;
  readonly #file: Imsic;
  readonly #stored: (by: number) => void;

  /**
   * `stored` is called after a store has made an identity pending; `by` is the hart that stored.
   */
  constructor(file: Imsic, stored: (by: number) => void) {
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

const byteSwap = (value: number): number =>
  (((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;
