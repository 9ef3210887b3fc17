/** Turns of harts that stand still, and time that passes while all of them wait. */
import { beforeEach, describe, expect, it } from 'vitest';

import type { StopReason } from '../../../../guest/riscv/engine.ts';
import { int32s, newPart } from '../../../../platform/shared.ts';
import { CountedTurns } from '../../../../vmm/crew/vcpu/counted-turns.ts';
import { controlBytes } from '../../../../vmm/machine/control/control-block.ts';
import type { HartLocal } from '../../../../vmm/machine/hart-local/hart-local.ts';
import { Icount } from '../../../../vmm/machine/shared/icount.ts';

/** What a hart does in its next slices: it begins so many instructions. */
interface Script {
  readonly executes: number;
  readonly reason: StopReason;
}

let realNs: number;
let blocked: boolean;
let timers: (bigint | undefined)[];
let icount: Icount;
/** The harts that have been told of what others wrote. */
let fences: number[];

beforeEach(() => {
  realNs = 5e9;
  blocked = false;
  timers = [];
  fences = [];
});

function turnsOf(scripts: readonly (readonly Script[])[], sleep: boolean): CountedTurns {
  icount = new Icount({ shift: 0, sleep }, scripts.length, {
    dueNs: () => undefined,
    update: () => {},
    blocked: () => blocked,
  });
  const harts = scripts.map((script, number) => {
    const left = [...script];
    const engine = {
      begun: 0,
      fence: () => fences.push(number),
      run(most: number): StopReason {
        const { executes, reason } = left.shift() ?? { executes: 0, reason: 'wfi' };
        engine.begun += Math.min(most, executes);
        return reason;
      },
    };
    // a stand-in: HartLocal has private fields
    return { number, engine, next: () => timers[number] } as unknown as HartLocal;
  });
  const control = int32s(newPart(controlBytes(scripts.length)));
  return new CountedTurns({ harts, icount, control, now: () => realNs });
}

/** The harts whose slices come next, until all wait. */
function untilAllWait(turns: CountedTurns): number[] {
  const ran: number[] = [];
  for (;;) {
    const slice = turns.next();
    ran.push(slice.hart.number);
    if (turns.ended(turns.run(slice))) return ran;
  }
}

const BUSY: Script = { executes: 1e9, reason: 'budget' };
const WAITS: Script = { executes: 10, reason: 'wfi' };

describe('turns where time is counted', () => {
  it('are as long for each hart, and go round', () => {
    const turns = turnsOf([[BUSY], [BUSY, BUSY], [BUSY]], false);
    const ran = [0, 1, 2, 3].map(() => {
      const slice = turns.next();
      turns.ended(turns.run(slice));
      return [slice.hart.number, slice.instructions, slice.looks];
    });
    const most = Math.floor(65_536 / 3);
    expect(ran).toEqual([
      [0, most, true],
      [1, most, false],
      [2, most, false],
      [0, most, true],
    ]);
    expect(fences).toEqual([0, 1, 2, 0]);
  });

  it('stay with a hart whose slice ended early, and see nothing from outside in between', () => {
    const turns = turnsOf([[{ executes: 100, reason: 'budget' }]], false);
    turns.ended(turns.run(turns.next()));
    expect(turns.next()).toMatchObject({ instructions: 65_536 - 100, looks: false });
    expect(fences).toEqual([]);
  });

  it('end when no hart has done anything since each was seen to wait', () => {
    const turns = turnsOf([[WAITS], [WAITS], []], false);
    expect(untilAllWait(turns)).toEqual([0, 1, 2, 0]);
  });
});

describe('while all harts wait', () => {
  it('time jumps to the first timer without sleep', () => {
    timers = [900n, 700n];
    const turns = turnsOf([[], []], false);
    untilAllWait(turns);
    expect([turns.jump(), icount.clock.now(), turns.dueMs()]).toEqual([true, 700n, undefined]);
  });

  it('time stands still where nothing comes, and for a timer that is never', () => {
    timers = [2n ** 64n - 1n];
    const turns = turnsOf([[]], false);
    untilAllWait(turns);
    turns.waits();
    realNs += 1e9;
    turns.next();
    expect([turns.jump(), icount.clock.now()]).toEqual([false, 0n]);
  });

  it('time passes as real time does with sleep, and is exact when the timer is due', () => {
    timers = [700n];
    const turns = turnsOf([[]], true);
    untilAllWait(turns);
    const before = [turns.jump(), turns.dueMs()];
    turns.waits();
    realNs += 12_345;
    turns.next();
    const halfway = [icount.clock.now(), turns.dueMs()];
    turns.waits();
    realNs += 99e6; // it slept too long
    turns.next();
    expect([before, halfway, icount.clock.now()]).toEqual([[false, 0.07], [123n, 0.057655], 700n]);
  });

  it('time does not pass while the guest is stopped', () => {
    timers = [70_000n];
    const turns = turnsOf([[]], true);
    untilAllWait(turns);
    turns.waits();
    realNs += 1000;
    turns.rest();
    realNs += 1e9;
    turns.next();
    expect(icount.clock.now()).toBe(10n);
  });

  it('no instruction may run while nobody takes what the guest says', () => {
    turnsOf([[]], false);
    blocked = true;
    expect(icount.instructionsUntil(undefined)).toBe(0);
  });
});
