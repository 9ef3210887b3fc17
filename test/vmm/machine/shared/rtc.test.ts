import { beforeEach, describe, expect, it } from 'vitest';

import { Rtc } from '../../../../vmm/machine/shared/rtc.ts';

const [TIME_LOW, TIME_HIGH, ALARM_LOW, ALARM_HIGH, IRQ_ENABLED, CLEAR_ALARM, ALARM_STATUS, CLEAR_INTERRUPT] = [
  0x00, 0x04, 0x08, 0x0c, 0x10, 0x14, 0x18, 0x1c,
];
const NOW = 0x1234_5678_9abc_def0n;

let nowNs: bigint;
let up: boolean;
let rtc: Rtc;
const newRtc = (): Rtc =>
  new Rtc(
    (level) => {
      up = level;
    },
    () => nowNs,
  );

beforeEach(() => {
  nowNs = NOW;
  up = false;
  rtc = newRtc();
});

const read = (offset: number): bigint | undefined => rtc.load(offset, 4);
const write = (offset: number, value: bigint): boolean => rtc.store(offset, 4, value);
function alarmAt(time: bigint): void {
  write(ALARM_HIGH, time >> 32n);
  write(ALARM_LOW, BigInt.asUintN(32, time));
}

/** docs/machine.md, "RTC". */
describe('RTC', () => {
  it('shows the time in halves that belong together', () => {
    expect(read(TIME_LOW)).toBe(0x9abc_def0n);
    nowNs += 1n << 32n;
    expect(read(TIME_HIGH)).toBe(0x1234_5678n);
    expect(rtc.load(TIME_LOW, 1)).toBeUndefined();
  });

  it('can be set, and goes on from there', () => {
    write(TIME_HIGH, 7n);
    write(TIME_LOW, 5n);
    nowNs += 10n;
    expect([read(TIME_LOW), read(TIME_HIGH)]).toEqual([15n, 7n]);
  });

  it('raises its line when the alarm is due, and drops it when it is cleared', () => {
    write(IRQ_ENABLED, 1n);
    alarmAt(NOW + 2_000_000n);
    expect([read(ALARM_STATUS), rtc.dueNs(), up]).toEqual([1n, 2e6, false]);
    nowNs += 2_000_000n;
    rtc.update();
    expect([read(ALARM_STATUS), rtc.dueNs(), up]).toEqual([0n, undefined, true]);
    write(CLEAR_INTERRUPT, 1n);
    expect(up).toBe(false);
  });

  it('goes off at once for a time that has passed, and never after it was cleared', () => {
    write(IRQ_ENABLED, 1n);
    alarmAt(NOW - 1n);
    expect(up).toBe(true);
    write(CLEAR_INTERRUPT, 1n);
    alarmAt(NOW + 100n);
    write(CLEAR_ALARM, 1n);
    nowNs += 200n;
    rtc.update();
    expect([up, read(ALARM_STATUS)]).toEqual([false, 0n]);
  });

  it('goes on from a saved state, with its alarm and its time', () => {
    write(TIME_HIGH, 7n);
    write(IRQ_ENABLED, 1n);
    alarmAt((7n << 32n) + 0xa000_0000n);
    const state = structuredClone(rtc.save());
    rtc = newRtc();
    nowNs += 0x1000_0000n; // as long as the exec took
    rtc.restore(state);
    expect([up, read(TIME_HIGH), read(ALARM_STATUS)]).toEqual([true, 0n, 0n]);
    expect([read(TIME_LOW), read(TIME_HIGH)]).toEqual([0xaabc_def0n, 7n]);
  });
});
