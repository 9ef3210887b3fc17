import { describe, expect, it } from 'vitest';

import { planIcount, planRecording } from '../../../vmm/vm/icount-option.ts';

describe('-icount', () => {
  it.each([
    ['shift=3', { shift: 3, sleep: true }],
    ['7', { shift: 7, sleep: true }],
    ['shift=0,sleep=off', { shift: 0, sleep: false }],
    ['10,sleep=on,align=off', { shift: 10, sleep: true }],
  ])('%s is what QEMU takes it for', (icount, plan) => {
    expect(planIcount({ icount })).toEqual(plan);
  });

  it('names the file of a recording', () => {
    expect(planRecording({ icount: '1,rr=record,rrfile=a,,b' })).toEqual({ mode: 'record', path: 'a,b' });
    expect(planRecording({ icount: '1' })).toBeUndefined();
  });

  it('is off where it is not given', () => {
    expect(planIcount({})).toBeUndefined();
  });

  it.each([
    ['sleep=off', '-icount sleep=off: give shift=N, 0 to 10: an instruction takes 2^N ns'],
    ['shift=11', '-icount shift=11: give shift=N, 0 to 10: an instruction takes 2^N ns'],
    ['auto', '-icount shift=auto: shift=auto would follow the speed of this machine: no run would be as another'],
    ['shift=1,align=on', '-icount shift=1,align=on: align=on is not known; there is off'],
    ['shift=1,rr=record', '-icount shift=1,rr=record: give rrfile=FILE: what is recorded goes there'],
    ['shift=1,rr=no,rrfile=f', '-icount shift=1,rr=no,rrfile=f: rr=no is not known; there are record, replay'],
    [
      '1,rr=replay,rrfile=f,rrsnapshot=s',
      'rrsnapshot= is not there: a recording begins at power-on, and so does a replay',
    ],
    ['shift=1,rrfile=f', "-icount shift=1,rrfile=f: 'rrfile' is not known"],
    ['1,sleep=maybe', '-icount shift=1,sleep=maybe: sleep=maybe is not known; there are on, off'],
  ])('%s is refused', (icount, error) => {
    expect(() => planIcount({ icount })).toThrow(error);
  });
});
