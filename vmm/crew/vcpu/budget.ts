/** How many instructions a slice has. */

/** A slice should take about this long. It bounds how late a stop request or the timer can be. */
const SLICE_NS = 1e6;
const MIN_BUDGET = 512;
/** What translated code can do in about that time; the hart ends a slice of slower code itself. */
const MAX_BUDGET = 1 << 22;

/** A vCPU in WFI looks around by itself after this time, for what happens seldom. */
export const LONGEST_WFI_MS = 1000;
/** How often a vCPU tells main what its hart has done. */
export const COUNT_EVERY_NS = 100e6;

export class Budget {
  /** Until code is compiled, an instruction takes microseconds. */
  instructions = MIN_BUDGET;

  /** A slice full of device accesses takes far longer than one of plain instructions. */
  adapt(tookNs: number): void {
    if (tookNs > 2 * SLICE_NS) this.instructions = Math.max(MIN_BUDGET, this.instructions >> 1);
    else if (tookNs < SLICE_NS / 2) this.instructions = Math.min(MAX_BUDGET, this.instructions << 1);
  }
}
