/** The one PCI bus of the board, bus 0 of segment 0: slots, and the firmware's choice of BAR addresses. Ranges are [start, end). */
import { SysError } from '../../platform/errno.ts';
import type { RegisterBar } from '../kit/device.ts';

const FIRST_SLOT = 2; // 0 and 1 are the host bridge's and the graphics card's, as on a PC
const END_SLOT = 32;
/** Where firmware puts memory BARs. Nothing of the board's memory lies there: a BAR is reached through its function, not through the memory map. */
const WINDOW_START = 0xc000_0000;
const WINDOW_END = 0xfe00_0000;

export class PciBus {
  #nextSlot = FIRST_SLOT;
  #nextPa = WINDOW_START;

  /** The requester id of the next function: function 0 of the next free slot. ENOSPC when the bus is full. */
  nextBdf(): number {
    if (this.#nextSlot === END_SLOT) {
      throw new SysError('ENOSPC', `a board has room for ${END_SLOT - FIRST_SLOT} devices`);
    }
    return this.#nextSlot++ << 3;
  }

  /** Addresses for all memory BARs of a function, each aligned to its size: BAR index → pa. */
  assignBars(bars: readonly RegisterBar[]): Record<number, number> {
    const addresses: Record<number, number> = {};
    for (const { index, size } of bars) {
      const start = Math.ceil(this.#nextPa / size) * size;
      if (start + size > WINDOW_END) throw new SysError('ENOSPC', 'the memory BARs of all devices do not fit');
      addresses[index] = start;
      this.#nextPa = start + size;
    }
    return addresses;
  }
}
