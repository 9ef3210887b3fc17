/** Function-level reset, and functions without INTx (docs/machine.md, "Configuration space"). */
import { describe, expect, it } from 'vitest';

import { device as capture } from '../../../devices/capture/device.ts';
import { device as edu } from '../../../devices/edu/device.ts';
import { REG } from '../../../devices/edu/regs.ts';
import type { Bus, DeviceType } from '../../../devices/kit/device.ts';
import { Bench } from '../bench.ts';

const FLR = { flr: 'on' };
const AF_CTRL = 0x54;
const MESSAGE = 0xfee0_1000;

describe('a function that can be reset', () => {
  it('has an Advanced Features capability behind MSI; another function has none', () => {
    expect(new Bench(edu, FLR).config(0x41, 1)).toBe(0x50);
    expect(new Bench(edu, FLR).config(0x50, 4)).toBe(0x03060013);
    expect(new Bench(edu).config(0x41, 1)).toBe(0);
  });

  it.each([
    [AF_CTRL, 1, 1],
    [AF_CTRL, 4, 1],
    [0x50, 4, 0],
    [AF_CTRL, 1, 0xfe],
  ])('is reset by bit 0 of the control register only: write of %x, %i bytes, %x', (at, size, value) => {
    const bench = new Bench(edu, FLR).ready();
    bench.setReg(REG.LIVENESS, 5);
    bench.configWrite(at, size, value);
    const isReset = bench.config(0x04, 2) === 0;
    expect(isReset).toBe(at === AF_CTRL && (value & 1) === 1);
    expect(bench.config(AF_CTRL, 1)).toBe(0);
  });

  it('is as at power-on after a reset: registers, configuration space, decoding, INTx', () => {
    const bench = new Bench(edu, FLR).ready();
    bench.enableMsi(MESSAGE, 7);
    bench.configWrite(0x42, 2, 0);
    bench.setReg(REG.LIVENESS, 5);
    bench.setReg(REG.IRQ_RAISE, 1);
    const raised = bench.line.level;
    bench.configWrite(AF_CTRL, 1, 1);

    expect({ raised, level: bench.line.level, decoding: bench.memoryBars.decoding }).toEqual({
      ...{ raised: true, level: false, decoding: false },
    });
    expect([0x04, 0x10, 0x44, 0x4c].map((at) => bench.config(at, 4))).toEqual([0x0010_0000, 0, 0, 0]);
    bench.ready();
    expect([bench.reg(REG.ID), bench.reg(REG.LIVENESS), bench.reg(REG.IRQ_STATUS)]).toEqual([0x010000ed, 0, 0]);
  });

  it('does nothing more of what it had under way, even if the reset comes in the middle of it', () => {
    let lives = 0;
    /** In its run it is reset by its user, who enables it at once; it goes on all the same. */
    const type: DeviceType = {
      ...edu,
      create: (bus: Bus) => {
        const life = ++lives;
        return {
          bars: {},
          run: () => {
            if (life > 1) return 1e9;
            bench.configWrite(AF_CTRL, 1, 1);
            bench.setCommand(0x0006);
            bench.enableMsi(MESSAGE, 7);
            bus.interrupts.message();
            bench.configWrite(0x42, 2, 0);
            bus.interrupts.setLevel(true);
            expect(bus.dma.write(0x1000, 0, Uint8Array.of(1))).toBe(0);
            return 2e9;
          },
        };
      },
    };
    const bench = new Bench(type, FLR).ready();
    bench.memory.back(0x100_0000, 0x100_1000);
    const deadlines = [bench.endpoint.run(), bench.endpoint.run()];
    expect({ lives, deadlines, level: bench.line.level }).toEqual({ lives: 2, deadlines: [0, 1e9], level: false });
    expect(bench.memory.u32(MESSAGE)).toBe(0);
  });
});

it('a function without INTx has no pin', () => {
  expect(new Bench(capture, { intx: 'off' }).config(0x3d, 1)).toBe(0);
  expect(new Bench(capture).config(0x3d, 1)).toBe(1);
});
