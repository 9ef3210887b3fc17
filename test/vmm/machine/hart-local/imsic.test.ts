import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { int32s, newPart, type SharedPart } from '../../../../platform/shared.ts';
import { controlBytes, hartWords } from '../../../../vmm/machine/control/control-block.ts';
import { Imsic, type ImsicState, imsicBytes, withPending } from '../../../../vmm/machine/hart-local/imsic.ts';
import type { ImsicFile } from '../../../../vmm/machine/hart-local/imsic-file.ts';
import { interruptTarget, LEVELS } from '../../../../vmm/machine/hart-local/interrupt-target.ts';
import { ImsicPage } from '../../../../vmm/machine/shared/imsic-page.ts';

const HARTS = 2;
const HART = 1;
const MIP = hartWords(HART).lines;
const MEIP = 1 << 11;
const SEIP = 1 << 9;
const EIDELIVERY = 0x70;
const EITHRESHOLD = 0x72;
const EIP0 = 0x80;
const EIP2 = 0x82;
const EIE0 = 0xc0;
const EIE2 = 0xc2;
const SETEIPNUM_LE = 0;
const SETEIPNUM_BE = 4;

let shared: SharedPart;
let lines: Int32Array;
let imsic: Imsic;

beforeEach(() => {
  shared = newPart(imsicBytes(HARTS));
  lines = int32s(newPart(controlBytes(HARTS)));
  imsic = new Imsic(shared, lines, HART);
});

/** AIA 1.0 §3. */
describe.each([
  { level: 'machine', line: MEIP },
  { level: 'supervisor', line: SEIP },
] as const)('an interrupt file of $level level', ({ level, line }) => {
  let file: ImsicFile;
  let page: ImsicPage;

  beforeEach(() => {
    file = imsic[level];
    page = new ImsicPage(file, () => {});
  });

  it('raises its line only for what is pending, enabled and delivered', () => {
    page.store(SETEIPNUM_LE, 4, 5n, 0);
    expect(lines[MIP]).toBe(0);
    file.writeRegister(EIE0, 1n << 5n);
    expect(lines[MIP]).toBe(0);
    file.writeRegister(EIDELIVERY, 1n);
    expect(lines[MIP]).toBe(line);
    file.writeRegister(EIE0, 0n);
    expect(lines[MIP]).toBe(0);
  });

  it('gives the lowest identity first and lowers its line with the last claim', () => {
    file.writeRegister(EIDELIVERY, 1n);
    file.writeRegister(EIE0, -1n);
    file.writeRegister(EIE2, -1n);
    file.setPending(70);
    file.setPending(9);
    expect(file.top()).toBe((9 << 16) | 9);
    expect(file.claim()).toBe((9 << 16) | 9);
    expect(file.claim()).toBe((70 << 16) | 70);
    expect(lines[MIP]).toBe(0);
    expect(file.claim()).toBe(0);
  });

  it('holds back identities at and above the threshold', () => {
    file.writeRegister(EIDELIVERY, 1n);
    file.writeRegister(EIE0, -1n);
    file.writeRegister(EITHRESHOLD, 8n);
    file.setPending(8);
    expect(file.top()).toBe(0);
    file.setPending(7);
    expect(file.top()).toBe((7 << 16) | 7);
  });

  it('ignores identity 0 and identities it does not have', () => {
    page.store(SETEIPNUM_LE, 4, 0n, 0);
    page.store(SETEIPNUM_LE, 4, 256n, 0);
    page.store(SETEIPNUM_LE, 4, 0xffff_ffffn, 0);
    file.writeRegister(EIE0, -1n);
    expect(file.readRegister(EIP0)).toBe(0n);
    expect(file.readRegister(EIE0)).toBe(BigInt.asUintN(64, -2n));
  });

  it('takes big-endian stores at seteipnum_be, words only, and reads zero', () => {
    page.store(SETEIPNUM_BE, 4, 0x4600_0000n, 0);
    expect(file.readRegister(EIP2)).toBe(1n << 6n);
    expect(page.load(SETEIPNUM_LE, 4)).toBe(0n);
    expect(page.load(SETEIPNUM_LE, 8)).toBeUndefined();
    expect(page.store(SETEIPNUM_LE, 1, 1n, 0)).toBe(false);
  });

  it('keeps WARL fields to their values', () => {
    file.writeRegister(EIDELIVERY, 0x4000_0001n);
    file.writeRegister(EITHRESHOLD, 0x1ffn);
    expect(file.readRegister(EIDELIVERY)).toBe(1n);
    expect(file.readRegister(EITHRESHOLD)).toBe(0xffn);
    file.writeRegister(EIDELIVERY, 0x4000_0000n);
    expect(file.readRegister(EIDELIVERY)).toBe(0n);
  });
});

describe('IMSIC', () => {
  const fresh = (state: ImsicState): { imsic: Imsic; lines: Int32Array } => {
    const lines = int32s(newPart(controlBytes(HARTS)));
    const imsic = new Imsic(newPart(imsicBytes(HARTS)), lines, HART);
    imsic.restore(structuredClone(state));
    return { imsic, lines };
  };

  it('gives each identity to the file that is named, and to no other', () => {
    for (const level of LEVELS) imsic[level].writeRegister(EIE0, -1n);
    imsic.receive(interruptTarget(HART, 5));
    imsic.receive(interruptTarget(HART, 6, 'supervisor'));
    expect(LEVELS.map((level) => imsic[level].top() & 0xffff)).toEqual([5, 6]);
    expect(new Imsic(shared, lines, 0).save()).toEqual(new Imsic(newPart(imsicBytes(1)), lines, 0).save());
  });

  it('goes on from a saved state, with its lines', () => {
    for (const level of LEVELS) {
      imsic[level].writeRegister(EIDELIVERY, 1n);
      imsic[level].writeRegister(EIE0, -1n);
    }
    imsic.machine.writeRegister(EITHRESHOLD, 200n);
    for (const identity of [31, 63]) imsic.machine.setPending(identity);
    imsic.supervisor.setPending(7);
    const next = fresh(imsic.save());
    expect(next.lines[MIP]).toBe(MEIP | SEIP);
    expect([next.imsic.machine.claim(), next.imsic.machine.claim()].map((top) => top & 0xffff)).toEqual([31, 63]);
    expect(next.imsic.supervisor.claim() & 0xffff).toBe(7);
    expect([next.imsic.machine.readRegister(EITHRESHOLD), next.lines[MIP]]).toEqual([200n, 0]);
  });

  it('tells of its S-level file only if that is not as after a reset: a state of 0.1.0 has none', () => {
    imsic.machine.setPending(3);
    const old = imsic.save();
    imsic.supervisor.setPending(255);
    expect([old.supervisor, imsic.save().supervisor?.pending[7]]).toEqual([undefined, 2 ** 31]);
    imsic.restore(old);
    expect(imsic.save()).toEqual(old);
  });

  it('takes pending bits into a state of either kind', () => {
    const old = imsic.save();
    const none = [0, 0, 0, 0, 0, 0, 0, 0];
    const some = withPending(old, { machine: none, supervisor: [4, ...none.slice(1)] });
    expect([some.supervisor?.pending[0], withPending(some, { machine: none, supervisor: none })]).toEqual([4, old]);
  });
});

/**
 * The interleavings of the interrupt thread and the hart that the header of imsic.ts speaks of,
 * made to happen.
 */
describe('an interrupt file between two threads', () => {
  let file: ImsicFile;
  let worker: ImsicFile;

  beforeEach(() => {
    file = imsic.supervisor;
    worker = new Imsic(shared, lines, HART).supervisor;
    file.writeRegister(EIDELIVERY, 1n);
    file.writeRegister(EIE0, -1n);
  });

  afterEach(() => {
    vi.restoreAllMocks();
  });

  /** Lets the other thread act just before this one's next `operation` on the hart's lines. */
  function justBefore(operation: 'and' | 'or', act: () => void): void {
    const original = Atomics[operation];
    const spy = vi.spyOn(Atomics, operation).mockImplementation(((array: Int32Array, index: number, value: number) => {
      if (array === lines) {
        spy.mockRestore();
        act();
      }
      return original(array, index, value);
    }) as typeof original);
  }

  it('keeps SEIP up for an interrupt that comes while the last one is being claimed', () => {
    worker.setPending(3);
    justBefore('and', () => worker.setPending(4));
    expect(file.claim() & 0xffff).toBe(3);
    expect(lines[MIP]).toBe(SEIP);
    expect(file.claim() & 0xffff).toBe(4);
    expect(lines[MIP]).toBe(0);
  });

  it('leaves SEIP down when the hart claims an interrupt before its line has been raised', () => {
    justBefore('or', () => expect(file.claim() & 0xffff).toBe(3));
    worker.setPending(3);
    expect(lines[MIP]).toBe(0);
  });
});
