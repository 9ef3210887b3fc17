/** A PCI Express function (docs/machine.md, "Configuration space"). */
import { describe, expect, it } from 'vitest';

import { device as edu } from '../../../devices/edu/device.ts';
import { REG } from '../../../devices/edu/regs.ts';
import { Bench } from '../bench.ts';

const PCIE = { pcie: 'on' };
const EXP = 0x50; // behind MSI
const DEVCTL = EXP + 8;
const ERRORS = 0x100;
const SERIAL = 0x12c;
const INTERNAL = 1 << 22;

describe('a PCI Express function', () => {
  it('is an endpoint in the root complex, with two extended capabilities', () => {
    const bench = new Bench(edu, PCIE);
    expect([bench.config(EXP, 4), bench.config(EXP + 4, 4)]).toEqual([0x0092_0010, 0x8000]);
    expect([bench.config(ERRORS, 4), bench.config(SERIAL, 4)]).toEqual([0x12c2_0001, 0x0001_0003]);
    expect([bench.config(SERIAL + 4, 4), bench.config(SERIAL + 8, 4)]).toEqual([0, 0x0200_5e00]);
    expect([bench.config(0xffc, 4), bench.config(0x1000, 4)]).toEqual([0, 0xffff_ffff]);
  });

  it('another one has nothing behind the first 256 bytes', () => {
    expect(new Bench(edu).config(0x100, 4)).toBe(0xffff_ffff);
  });

  it('keeps what of its controls can be written, and nothing behind its capabilities', () => {
    const bench = new Bench(edu, PCIE);
    expect(bench.config(DEVCTL, 2)).toBe(0x2810);
    for (const at of [DEVCTL, ERRORS + 8, ERRORS + 0x14, ERRORS + 0x18, 0x200]) bench.configWrite(at, 4, 0xffff_ffff);
    expect([DEVCTL, ERRORS + 8, ERRORS + 0x14, ERRORS + 0x18, 0x200].map((at) => bench.config(at, 4))).toEqual([
      0x79ff, 0x03ff_f031, 0xf1c1, 0x140, 0,
    ]);
  });

  it.each([
    ['on', DEVCTL, 2, 0x8000, true],
    ['on', DEVCTL + 1, 1, 0x80, true],
    ['on', EXP, 4, 0x8000_0000, false],
    ['off', DEVCTL, 2, 0x8000, false],
  ])('with flr=%s, a write of %x, %i bytes, %x resets it: %s', (flr, at, size, value, expected) => {
    const bench = new Bench(edu, { ...PCIE, flr }).ready();
    bench.setReg(REG.LIVENESS, 5);
    bench.configWrite(at, size, value);
    expect(bench.config(0x04, 2) === 0).toBe(expected);
    expect(bench.config(DEVCTL, 2) & 0x8000).toBe(0);
    expect(bench.config(EXP + 4, 4)).toBe(flr === 'on' ? 0x1000_8000 : 0x8000);
  });

  it('records an error that is injected, until software clears it', () => {
    const bench = new Bench(edu, PCIE);
    bench.control.inject('uncorrectable-error');
    expect([bench.config(ERRORS + 4, 4), bench.config(ERRORS + 4, 4)]).toEqual([INTERNAL, INTERNAL]);
    bench.configWrite(ERRORS + 4, 4, INTERNAL - 1);
    expect(bench.config(ERRORS + 4, 4)).toBe(INTERNAL);
    bench.configWrite(ERRORS + 4, 4, INTERNAL);
    expect(bench.config(ERRORS + 4, 4)).toBe(0);
  });
});
