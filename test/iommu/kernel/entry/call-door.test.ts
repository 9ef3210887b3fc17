import { beforeEach, describe, expect, it, vi } from 'vitest';

import { OWN_CALLS } from '../../../../iommu/kernel/core/door.ts';
import { CallDoor } from '../../../../iommu/kernel/entry/call-door.ts';
import type { Channel } from '../../../../iommu/kernel/entry/channel.ts';
import { cpuWanted } from '../../../../platform/process-status.ts';
import { int32s, newPart, type SharedPart } from '../../../../platform/shared.ts';

vi.mock('../../../../platform/libc/cpu.ts', () => ({ currentCpu: () => 2 }));
vi.mock('../../../../platform/process-status.ts', () => ({ cpuWanted: vi.fn() }));

/** As far as the door looks at it here. */
const channel = { task: { pid: 7, tid: 8 } } as unknown as Channel;

let part: SharedPart;
let door: CallDoor;
beforeEach(() => {
  part = newPart(8192);
  door = new CallDoor({ part, release: () => {} }, channel, {
    pace: OWN_CALLS,
    guarded: (work) => work(),
    inTurn: (work) => work(),
  });
});

describe('the door of a call page', () => {
  it.each([
    ['waits for our CPU', 2, true],
    ['runs or waits elsewhere', 0, false],
    ['sleeps', undefined, false],
  ])('knows whether its thread %s', (_, cpu, waits) => {
    vi.mocked(cpuWanted).mockReturnValue(cpu);

    expect(door.waitsForOurCpu()).toBe(waits);
    expect(cpuWanted).toHaveBeenLastCalledWith(7, 8);
  });

  it.each([
    [2, true],
    [0, false],
  ])('knows whether its thread has rung from our CPU: from CPU %i', (cpu, isOurs) => {
    const words = int32s(part);
    const { index } = door.letRing();
    words[index + 1] = cpu;

    expect(door.rangFromOurCpu()).toBe(isOurs);
  });
});
