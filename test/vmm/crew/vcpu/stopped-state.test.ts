import { beforeEach, describe, expect, it } from 'vitest';

import { newPart, wholeOf } from '../../../../platform/shared.ts';
import { TaskChannel } from '../../../../vmm/client/task-channel.ts';
import { buildVcpu } from '../../../../vmm/crew/vcpu/start.ts';
import { STOPPED_STATE_BYTES, StoppedState } from '../../../../vmm/crew/vcpu/stopped-state.ts';
import type { Suspended } from '../../../../vmm/crew/vcpu/suspended.ts';
import { createVmShared } from '../../../../vmm/crew/vm-shared.ts';
import { RAM_BASE } from '../../../../vmm/machine/shared/memory-map.ts';

let suspended: Suspended;
let state: StoppedState;

beforeEach(() => {
  suspended = buildVcpu({
    shared: createVmShared(2),
    parts: { ram: wholeOf(new SharedArrayBuffer(4 << 20)), entry: RAM_BASE, aia: 'none', devices: [] },
    kernel: new TaskChannel(-1),
    tell: () => {},
  }).suspend();
  state = new StoppedState(newPart(STOPPED_STATE_BYTES));
});

describe('the state of a vCPU that has stopped', () => {
  it('is for main what it was for the vCPU, all harts and devices of it', () => {
    expect(state.put(3, suspended)).toBe(true);
    const taken = state.take();
    expect({ atNs: taken.atNs, state: structuredClone(taken.state()) }).toEqual(suspended);
    expect(taken.state().harts).toHaveLength(2);
    expect(taken.packed!.count).toBe(Object.keys(suspended.state).length - 1 + 2 * 3);
  });

  it('is still that when the vCPU has stopped anew', () => {
    state.put(3, suspended);
    const taken = state.take();
    state.put(4, { ...suspended, atNs: 0, state: { ...suspended.state, harts: [] } });
    expect(structuredClone(taken.state())).toEqual(suspended.state);
  });

  it('is not there before the vCPU has stopped by that request', () => {
    state.put(3, suspended);
    expect([state.sleepUntil(3, 0), state.sleepUntil(4, 0)]).toEqual([true, false]);
  });

  it('goes by message where it has no room', () => {
    const small = new StoppedState(newPart(256));
    expect([small.put(3, suspended), small.sleepUntil(3, 0)]).toEqual([false, false]);
  });
});
