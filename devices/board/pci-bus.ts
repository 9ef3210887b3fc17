/**
 * The only PCI bus of the board, bus 0 of segment 0. It knows which slots are taken. Devices have
 * function 0 only.
 */
import { SysError } from '../../platform/errno.ts';

const FIRST_SLOT = 2; // 0 and 1 are the host bridge's and the graphics card's, as on a PC
const END_SLOT = 32;

export class PciBus {
  readonly #taken = new Set<number>();

  /**
   * Takes the slot SLOT[.0], hexadecimal as QEMU's addr=, and returns its requester id; undefined
   * if there is no such slot, or it is taken.
   */
  take(addr: string): number | undefined {
    const [, digits = ''] = /^(?:0x)?([0-9a-f]{1,2})(?:\.0)?$/i.exec(addr) ?? [];
    const slot = Number.parseInt(digits, 16);
    if (!(slot >= FIRST_SLOT && slot < END_SLOT) || this.#taken.has(slot)) return undefined;
    this.#taken.add(slot);
    return slot << 3;
  }

  /** Takes the first free slot and returns its requester id. ENOSPC when the bus is full. */
  takeNext(): number {
    for (let slot = FIRST_SLOT; slot < END_SLOT; slot++) {
      const bdf = this.take(slot.toString(16));
      if (bdf !== undefined) return bdf;
    }
    throw new SysError('ENOSPC', `a board has room for ${END_SLOT - FIRST_SLOT} devices`);
  }
}

export const slotOf = (bdf: number): number => bdf >>> 3;
