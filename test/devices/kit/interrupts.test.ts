import { describe, expect, it } from 'vitest';

import { device as capture } from '../../../devices/capture/device.ts';
import { device as edu } from '../../../devices/edu/device.ts';
import { REG } from '../../../devices/edu/regs.ts';
import { Bench } from '../bench.ts';

const STATUS_INTERRUPT = 0x0008;
const INTX_DISABLE = 0x0400;
const MASTER_MEMORY = 0x0006;
const MESSAGE = 0xfee0_1000;

describe('INTx (PCI 3.0 §2.2.6, §6.2.2)', () => {
  it('raise asserts the line and shows in STATUS, acknowledge lowers both', () => {
    const bench = new Bench(edu).ready();

    bench.setReg(REG.IRQ_RAISE, 1);
    const raised = { line: bench.line.level, status: bench.config(0x06, 2) & STATUS_INTERRUPT };
    bench.setReg(REG.IRQ_ACK, 1);

    expect(raised).toEqual({ line: true, status: STATUS_INTERRUPT });
    expect(bench.line.edges).toEqual(['raise', 'lower']);
    expect(bench.config(0x06, 2) & STATUS_INTERRUPT).toBe(0);
  });

  it('COMMAND.INTx-disable lets go of the line and not of the status bit; clearing it asserts again', () => {
    const bench = new Bench(edu).ready();
    bench.setReg(REG.IRQ_RAISE, 1);

    bench.setCommand(MASTER_MEMORY | INTX_DISABLE);
    const disabled = { line: bench.line.level, status: bench.config(0x06, 2) & STATUS_INTERRUPT };
    bench.setCommand(MASTER_MEMORY);

    expect(disabled).toEqual({ line: false, status: STATUS_INTERRUPT });
    expect(bench.line.edges).toEqual(['raise', 'lower', 'raise']);
  });

  it('enabling MSI lowers an asserted line', () => {
    const bench = new Bench(edu).ready();
    bench.setReg(REG.IRQ_RAISE, 1);

    bench.enableMsi(MESSAGE, 5);

    expect(bench.line.edges).toEqual(['raise', 'lower']);
    expect(bench.config(0x06, 2) & STATUS_INTERRUPT).toBe(0);
  });
});

describe('MSI', () => {
  it('is a 32-bit store of the data at the programmed address', () => {
    const bench = new Bench(edu).ready();
    bench.enableMsi(MESSAGE, 0x4021);

    bench.setReg(REG.IRQ_RAISE, 1);

    expect(bench.memory.log).toEqual(['store 0xfee01000=0x4021']);
    expect(bench.line.edges).toEqual([]);
  });

  it('takes a 64-bit address', () => {
    const bench = new Bench(edu).ready();
    bench.enableMsi(0x12_3456_7890, 7);

    bench.setReg(REG.IRQ_RAISE, 1);

    expect(bench.memory.u32(0x12_3456_7890)).toBe(7);
  });

  it('is lost without bus master enable', () => {
    const bench = new Bench(edu).ready();
    bench.enableMsi(MESSAGE, 5);
    bench.setCommand(0x0002);

    bench.setReg(REG.IRQ_RAISE, 1);

    expect(bench.memory.log).toEqual([]);
  });

  it('defect drop-interrupt swallows exactly one, and it counts as meant', () => {
    const bench = new Bench(edu).ready();
    bench.enableMsi(MESSAGE, 5);
    bench.control.inject('drop-interrupt');

    bench.setReg(REG.IRQ_RAISE, 1);
    bench.setReg(REG.IRQ_RAISE, 1);

    expect(bench.memory.log).toEqual(['store 0xfee01000=0x5']);
    expect(bench.control.interrupts()).toBe(2);
  });
});

describe('decoding', () => {
  it('a BAR does not answer while COMMAND.memory is clear', () => {
    const bench = new Bench(edu).ready();

    bench.setCommand(0x0004);

    expect(bench.halves(0, 8)).toEqual({ lo: 0xffffffff, hi: 0xffffffff });
  });

  it('neither does a BAR that is not there, nor what lies behind its end', () => {
    const bench = new Bench(edu).ready();

    expect(bench.endpoint.read(1, 0, 4).lo).toBe(0xffffffff);
    expect(bench.endpoint.read(0, 1 << 20, 4).lo).toBe(0xffffffff);
    // capture's registers read 0 where there is none, so this is not theirs.
    const { endpoint } = new Bench(capture).ready();
    expect([0xffc, 0x1000, 0x2000].map((offset) => endpoint.read(0, offset, 4).lo)).toEqual([
      0, 0xffffffff, 0xffffffff,
    ]);
  });

  it('firmware leaves BARs assigned and command 0x0103: decoding, no bus master (PCI-9)', () => {
    const bench = new Bench(edu);

    bench.endpoint.boot({ 0: 0x4010_0000 }, 10);

    expect(bench.config(0x10, 4)).toBe(0x4010_0000);
    expect(bench.config(0x04, 2)).toBe(0x0103);
    expect(bench.config(0x3c, 1)).toBe(10);
  });
});
