import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { device as ivshmem } from '../../../devices/ivshmem/device.ts';
import { REG } from '../../../devices/ivshmem/regs.ts';
import { Bench } from '../bench.ts';
import { replay } from '../qtest-replay.ts';

const RECORDING = readFileSync(new URL('../vectors/ivshmem-plain.qtest', import.meta.url), 'utf8');

describe('ivshmem-plain', () => {
  it('answers as QEMU 11.1.3 did in the recording', () => {
    const { differences, compared } = replay(RECORDING, {
      type: ivshmem,
      properties: {},
      slot: 1,
      ecam: 0x3000_0000,
      ram: [],
      skip: [],
    });

    expect(differences).toEqual([]);
    expect(compared).toBe(52);
  });

  it('a shorter read of a register is made with four bytes and clears the status, too', () => {
    const bench = new Bench(ivshmem).ready();
    bench.setReg(REG.INTR_STATUS, 0x1234);

    const low = bench.halves(REG.INTR_STATUS, 1).lo;

    expect([low, bench.reg(REG.INTR_STATUS)]).toEqual([0x34, 0]);
  });

  it('the doorbell rings nobody, and there is no interrupt', () => {
    const bench = new Bench(ivshmem).ready();

    bench.setReg(REG.INTR_MASK, 0xffffffff);
    bench.setReg(REG.INTR_STATUS, 1);
    bench.setReg(REG.DOORBELL, 0x10000);

    expect(bench.line.edges).toEqual([]);
    expect(bench.config(0x3d, 1)).toBe(0);
  });

  it('lets its memory be reached while it decodes, and only then', () => {
    const bench = new Bench(ivshmem);
    const seen: boolean[] = [bench.memoryBars.decoding];

    bench.ready();
    seen.push(bench.memoryBars.decoding);
    bench.setCommand(0x0004);
    seen.push(bench.memoryBars.decoding);

    expect(seen).toEqual([false, true, false]);
  });
});
