import { beforeEach, describe, expect, it } from 'vitest';

import { int32s, wholeOf } from '../../../../platform/shared.ts';
import { TaskChannel } from '../../../../vmm/client/task-channel.ts';
import { buildVcpu } from '../../../../vmm/crew/vcpu/start.ts';
import { VcpuThread } from '../../../../vmm/crew/vcpu/thread.ts';
import type { Vcpu } from '../../../../vmm/crew/vcpu/vcpu.ts';
import { createVmShared } from '../../../../vmm/crew/vm-shared.ts';
import { hartWords, OWNER_HART, REQUEST_RESET, REQUEST_RUN } from '../../../../vmm/machine/control/control-block.ts';
import { wakeHart } from '../../../../vmm/machine/control/lease.ts';
import { RAM_BASE } from '../../../../vmm/machine/shared/memory-map.ts';

const HARTS = 3;
/**
 * csrr t0, mhartid · auipc a0, 0 · slli t1, t0, 3 · add a0, a0, t1 · addi t0, t0, 1 · sw t0,
 * 0xfc(a0) · wfi · j .-4
 */
const NOTES_ITS_NUMBER = [
  0xf14022f3, 0x00000517, 0x00329313, 0x00650533, 0x00128293, 0x0e552e23, 0x10500073, 0xffdff06f,
];
const NOTES = 0x100;

let main: VcpuThread;
let ram: SharedArrayBuffer;
let vcpu: Vcpu;

beforeEach(() => {
  main = new VcpuThread(createVmShared(HARTS));
  ram = new SharedArrayBuffer(4 << 20);
  vcpu = buildVcpu({
    shared: main.shared,
    parts: { ram: wholeOf(ram), entry: RAM_BASE, devices: [] },
    kernel: new TaskChannel(-1),
    tell: () => {},
  });
  main.request(REQUEST_RESET);
  vcpu.turn();
  new Uint32Array(ram).set(NOTES_ITS_NUMBER);
  main.request(REQUEST_RUN);
});

const turnsUntilItWaits = (): string => {
  let { kind } = vcpu.turn();
  for (let turns = 0; turns < 100 && kind === 'run'; turns++) ({ kind } = vcpu.turn());
  return kind;
};

describe('a vCPU with several harts at home', () => {
  it('runs them in turn, and waits when all of them wait', () => {
    const rest = turnsUntilItWaits();
    const notes = new Uint32Array(ram, NOTES, 2 * HARTS);
    expect([rest, notes[0], notes[2], notes[4]]).toEqual(['wfi', 1, 2, 3]);
  });

  it('looks at all of them before it waits again', () => {
    turnsUntilItWaits();
    expect([vcpu.turn().kind, vcpu.turn().kind, vcpu.turn().kind]).toEqual(['run', 'run', 'wfi']);
  });

  it('is woken for each of them', () => {
    const { wake } = hartWords(OWNER_HART);
    const control = int32s(main.shared.control);
    const before = Atomics.load(control, wake);
    wakeHart(control, 1);
    expect(Atomics.load(control, wake)).not.toBe(before);
  });
});
