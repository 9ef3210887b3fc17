/** The log of page-table writes during updates, for people to read. There should be none. */
import type { PteWrite } from '../../iommu/abi/control.ts';
import type { UpdateFacts } from './facts.ts';

/** Lines that one run prints at most. */
const MOST = 8;

export interface WritesOfUpdate {
  /** Counted from 1. */
  readonly update: number;
  readonly write: PteWrite;
}

export const allWrites = (updates: readonly UpdateFacts[]): WritesOfUpdate[] =>
  updates.flatMap(({ tableWrites }, index) => tableWrites.writes.map((write) => ({ update: index + 1, write })));

export const describeWrite = ({ iova, level, count, before, after, pid, kernel }: PteWrite): string => {
  const entries = count === 1 ? 'an entry' : `${count} entries`;
  const who = pid === null ? 'the kernel itself' : `a call of process ${pid}`;
  return `iova ${iova}, level ${level}, ${entries}: ${before} → ${after}, by ${who} (kernel ${kernel})`;
};

/** The first writes, a line each, and how many there are more. */
export function describeWrites(updates: readonly UpdateFacts[]): string[] {
  const writes = allWrites(updates);
  const lines = writes.slice(0, MOST).map(({ update, write }) => `    update ${update}: ${describeWrite(write)}`);
  if (writes.length > MOST) lines.push(`    and ${writes.length - MOST} more (--json has them)`);
  return lines;
}
