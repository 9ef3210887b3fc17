import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { int32s, newPart, type SharedPart } from '../../../../platform/shared.ts';
import { controlBytes, hartWords } from '../../../../vmm/machine/control/control-block.ts';
import { Imsic, imsicBytes } from '../../../../vmm/machine/hart-local/imsic.ts';
import { ImsicPage } from '../../../../vmm/machine/shared/imsic-page.ts';

const MIP = hartWords(0).lines;
const MEIP = 1 << 11;
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
let page: ImsicPage;

beforeEach(() => {
  shared = newPart(imsicBytes(1));
  lines = int32s(newPart(controlBytes(1)));
  imsic = new Imsic(shared, lines, 0);
  page = new ImsicPage(imsic, () => {});
});

/** AIA 1.0 §3. */
describe('IMSIC', () => {
  it('raises MEIP only for what is pending, enabled and delivered', () => {
    page.store(SETEIPNUM_LE, 4, 5n, 0);
    expect(lines[MIP]).toBe(0);
    imsic.writeRegister(EIE0, 1n << 5n);
    expect(lines[MIP]).toBe(0);
    imsic.writeRegister(EIDELIVERY, 1n);
    expect(lines[MIP]).toBe(MEIP);
    imsic.writeRegister(EIE0, 0n);
    expect(lines[MIP]).toBe(0);
  });

  it('gives the lowest identity first and lowers MEIP with the last claim', () => {
    imsic.writeRegister(EIDELIVERY, 1n);
    imsic.writeRegister(EIE0, -1n);
    imsic.writeRegister(EIE2, -1n);
    imsic.setPending(70);
    imsic.setPending(9);
    expect(imsic.top()).toBe((9 << 16) | 9);
    expect(imsic.claim()).toBe((9 << 16) | 9);
    expect(imsic.claim()).toBe((70 << 16) | 70);
    expect(lines[MIP]).toBe(0);
    expect(imsic.claim()).toBe(0);
  });

  it('holds back identities at and above the threshold', () => {
    imsic.writeRegister(EIDELIVERY, 1n);
    imsic.writeRegister(EIE0, -1n);
    imsic.writeRegister(EITHRESHOLD, 8n);
    imsic.setPending(8);
    expect(imsic.top()).toBe(0);
    imsic.setPending(7);
    expect(imsic.top()).toBe((7 << 16) | 7);
  });

  it('ignores identity 0 and identities it does not have', () => {
    page.store(SETEIPNUM_LE, 4, 0n, 0);
    page.store(SETEIPNUM_LE, 4, 256n, 0);
    page.store(SETEIPNUM_LE, 4, 0xffff_ffffn, 0);
    imsic.writeRegister(EIE0, -1n);
    expect(imsic.readRegister(EIP0)).toBe(0n);
    expect(imsic.readRegister(EIE0)).toBe(BigInt.asUintN(64, -2n));
  });

  it('takes big-endian stores at seteipnum_be, words only, and reads zero', () => {
    page.store(SETEIPNUM_BE, 4, 0x4600_0000n, 0);
    expect(imsic.readRegister(EIP2)).toBe(1n << 6n);
    expect(page.load(SETEIPNUM_LE, 4)).toBe(0n);
    expect(page.load(SETEIPNUM_LE, 8)).toBeUndefined();
    expect(page.store(SETEIPNUM_LE, 1, 1n, 0)).toBe(false);
  });

  it('keeps WARL fields to their values', () => {
    imsic.writeRegister(EIDELIVERY, 0x4000_0001n);
    imsic.writeRegister(EITHRESHOLD, 0x1ffn);
    expect(imsic.readRegister(EIDELIVERY)).toBe(1n);
    expect(imsic.readRegister(EITHRESHOLD)).toBe(0xffn);
    imsic.writeRegister(EIDELIVERY, 0x4000_0000n);
    expect(imsic.readRegister(EIDELIVERY)).toBe(0n);
  });

  it('goes on from a saved state, with its line', () => {
    imsic.writeRegister(EIDELIVERY, 1n);
    imsic.writeRegister(EITHRESHOLD, 200n);
    imsic.writeRegister(EIE0, -1n);
    imsic.setPending(31);
    imsic.setPending(63);
    const state = structuredClone(imsic.save());
    const freshLines = int32s(newPart(controlBytes(1)));
    const fresh = new Imsic(newPart(imsicBytes(1)), freshLines, 0);
    fresh.restore(state);
    expect(freshLines[MIP]).toBe(MEIP);
    expect(fresh.claim() & 0xffff).toBe(31);
    expect(fresh.claim() & 0xffff).toBe(63);
    expect(fresh.readRegister(EITHRESHOLD)).toBe(200n);
  });
});

/**
 * The interleavings of the interrupt thread and the hart that the header of imsic.ts speaks of,
 * made to happen.
 */
describe('IMSIC between two threads', () => {
  let worker: Imsic;

  beforeEach(() => {
    worker = new Imsic(shared, lines, 0);
    imsic.writeRegister(EIDELIVERY, 1n);
    imsic.writeRegister(EIE0, -1n);
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

  it('keeps MEIP up for an interrupt that comes while the last one is being claimed', () => {
    worker.setPending(3);
    justBefore('and', () => worker.setPending(4));
    expect(imsic.claim() & 0xffff).toBe(3);
    expect(lines[MIP]).toBe(MEIP);
    expect(imsic.claim() & 0xffff).toBe(4);
    expect(lines[MIP]).toBe(0);
  });

  it('leaves MEIP down when the hart claims an interrupt before its line has been raised', () => {
    justBefore('or', () => expect(imsic.claim() & 0xffff).toBe(3));
    worker.setPending(3);
    expect(lines[MIP]).toBe(0);
  });
});
