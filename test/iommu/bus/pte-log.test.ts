import { describe, expect, it } from 'vitest';

import { createPteLog, PTE_LOG_RECORDS, PteLog } from '../../../iommu/bus/pte-log.ts';

const run = (vpn: number) => ({ vpn, count: 3, level: 1, oldLo: 0, oldHi: 1, newLo: -1, newHi: 2 });
const by = (timeNs: number) => ({ timeNs, unit: 1, kernel: 4, pid: 4711 });

describe('the log of page-table writes', () => {
  it('has every word of a run, also above 2^32', () => {
    const log = new PteLog(createPteLog());
    log.append(run(2 ** 37), by(5e15));
    expect(log.since(0)).toEqual({ whole: true, runs: [{ ...run(2 ** 37), ...by(5e15) }] });
  });

  it('tells what came since a time, the oldest first', () => {
    const log = new PteLog(createPteLog());
    for (const time of [10, 20, 30]) log.append(run(time), by(time));
    expect(log.since(20).runs.map(({ vpn }) => vpn)).toEqual([20, 30]);
    expect(log.since(31)).toEqual({ runs: [], whole: true });
  });

  it('goes on where the kernel before has ended', () => {
    const memory = createPteLog();
    new PteLog(memory).append(run(1), by(1));
    const next = new PteLog(memory);
    next.append(run(2), by(2));
    expect(next.since(0).runs.map(({ vpn }) => vpn)).toEqual([1, 2]);
  });

  it('forgets the oldest and says so, but not of a time that it has whole', () => {
    const log = new PteLog(createPteLog());
    for (let time = 0; time < PTE_LOG_RECORDS + 5; time++) log.append(run(time), by(time));
    const { runs, whole } = log.since(0);
    expect([runs.length, runs[0]!.vpn, whole]).toEqual([PTE_LOG_RECORDS, 5, false]);
    expect(log.since(6)).toMatchObject({ whole: true });
    expect(log.since(6).runs).toHaveLength(PTE_LOG_RECORDS - 1);
  });
});
