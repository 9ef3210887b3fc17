/** What AIA adds to a hart: registers behind miselect and siselect, mtopi and stopi. */
import type { InterruptFile } from './environment.ts';
import { IRQ_PRIORITY } from './isa.ts';

/** The iprio array and the interrupt file behind miselect/mireg (AIA §2.1, table 2.2). */
const SELECT_IPRIO_FIRST = 0x30;
const SELECT_IPRIO_LAST = 0x3f;
const SELECT_FILE_FIRST = 0x70;
const SELECT_EIP_FIRST = 0x80;
const SELECT_FILE_LAST = 0xff;

/**
 * mireg, sireg: iprio of the major interrupts is read-only zero; eip and eie have even numbers only
 * on RV64 (AIA §2.1, §3.8). undefined: nothing is selected, or there is no file.
 */
export function readSelected(file: InterruptFile | undefined, select: number): bigint | undefined {
  if (select >= SELECT_IPRIO_FIRST && select <= SELECT_IPRIO_LAST) return select & 1 ? undefined : 0n;
  if (!file || select < SELECT_FILE_FIRST || select > SELECT_FILE_LAST) return undefined;
  if (select >= SELECT_EIP_FIRST && select & 1) return undefined;
  return BigInt.asUintN(64, file.readRegister(select));
}

export function writeSelected(file: InterruptFile | undefined, select: number, value: bigint): boolean {
  if (readSelected(file, select) === undefined) return false;
  if (select >= SELECT_FILE_FIRST) file?.writeRegister(select, value);
  return true;
}

/**
 * mtopi, stopi: of these interrupts the one that would be taken; IPRIO is 1 where all priorities
 * are read-only zero (AIA §5.4.1).
 */
export function topInterrupt(pending: number): bigint {
  const irq = IRQ_PRIORITY.find((candidate) => pending & (1 << candidate));
  return irq === undefined ? 0n : BigInt((irq << 16) | 1);
}
