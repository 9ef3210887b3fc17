import { once } from 'node:events';

import { describe, expect, it } from 'vitest';

import { startWorker } from '../../../platform/thread.ts';
import { createHart, RAM_BASE, RAM_SIZE } from './fixture.ts';
import type { SecondHart } from './second-hart.ts';

const DATA = BigInt(RAM_BASE + 0x100);
const ONES = 2n ** 64n - 1n;

describe('AMOs (unpriv-isa §14.4): rd = old, memory = new', () => {
  it.each([
    ['08c5a52f  amoswap.w a0, a2, (a1)', 0x1_8000_0000n, 7n, 0xffff_ffff_8000_0000n, 0x1_0000_0007n],
    ['00c5a52f  amoadd.w a0, a2, (a1)', 0xffff_ffffn, 1n, ONES, 0n],
    ['20c5a52f  amoxor.w a0, a2, (a1)', 0x0fn, 0xffn, 0x0fn, 0xf0n],
    ['60c5a52f  amoand.w a0, a2, (a1)', 0x0fn, 0x3cn, 0x0fn, 0x0cn],
    ['40c5a52f  amoor.w a0, a2, (a1)', 0x0fn, 0x30n, 0x0fn, 0x3fn],
    ['80c5a52f  amomin.w a0, a2, (a1)', 5n, ONES, 5n, 0xffff_ffffn],
    ['a0c5a52f  amomax.w a0, a2, (a1)', 5n, ONES, 5n, 5n],
    ['c0c5a52f  amominu.w a0, a2, (a1)', 5n, ONES, 5n, 5n],
    ['e0c5a52f  amomaxu.w a0, a2, (a1)', 5n, ONES, 5n, 0xffff_ffffn],
    ['08c5b52f  amoswap.d a0, a2, (a1)', 5n, ONES, 5n, ONES],
    ['00c5b52f  amoadd.d a0, a2, (a1)', ONES, 2n, ONES, 1n],
    ['20c5b52f  amoxor.d a0, a2, (a1)', ONES, 1n, ONES, ONES - 1n],
    ['60c5b52f  amoand.d a0, a2, (a1)', ONES, 6n, ONES, 6n],
    ['40c5b52f  amoor.d a0, a2, (a1)', 1n << 63n, 6n, 1n << 63n, (1n << 63n) + 6n],
    ['80c5b52f  amomin.d a0, a2, (a1)', 5n, ONES, 5n, ONES],
    ['a0c5b52f  amomax.d a0, a2, (a1)', 5n, ONES, 5n, 5n],
    ['c0c5b52f  amominu.d a0, a2, (a1)', 5n, ONES, 5n, 5n],
    ['e6c5b52f  amomaxu.d.aqrl a0, a2, (a1)', 5n, ONES, 5n, ONES],
  ])('%s on %i with a2 = %i', (program, before, a2, rd, after) => {
    const { get, ram, step } = createHart({ program, registers: { a1: DATA, a2 } });
    ram.setBigUint64(0x100, before, true);
    step();
    expect([get('a0'), ram.getBigUint64(0x100, true)]).toEqual([rd, after]);
  });
});

describe('LR and SC (unpriv-isa §14.2)', () => {
  it.each([
    ['words', '1005a52f  lr.w a0, (a1)\n18c5a6af  sc.w a3, a2, (a1)', 0xffff_ffff_8000_0001n, 0x1_0000_0009n],
    ['doublewords', '1005b52f  lr.d a0, (a1)\n18c5b6af  sc.d a3, a2, (a1)', 0x1_8000_0001n, 9n],
  ])('store %s when nothing came between', (_, program, old, after) => {
    const { get, hart, ram } = createHart({ program, registers: { a1: DATA, a2: 9n, a3: 5n } });
    ram.setBigUint64(0x100, 0x1_8000_0001n, true);
    hart.run(2);
    expect([get('a0'), get('a3'), ram.getBigUint64(0x100, true)]).toEqual([old, 0n, after]);
  });

  it.each([
    ['there was no LR', '00000013  nop\n18c5b6af  sc.d a3, a2, (a1)'],
    ['LR was of another address', '1007352f  lr.d a0, (a4)\n18c5b6af  sc.d a3, a2, (a1)'],
    ['LR was of another size', '1005a52f  lr.w a0, (a1)\n18c5b6af  sc.d a3, a2, (a1)'],
    ['the value has changed', '1005b52f  lr.d a0, (a1)\n00b5b023  sd a1, 0(a1)\n18c5b6af  sc.d a3, a2, (a1)'],
    ['an SC came between', '1005b52f  lr.d a0, (a1)\n18c7302f  sc.d zero, a2, (a4)\n18c5b6af  sc.d a3, a2, (a1)'],
    ['a trap came between', '1005b52f  lr.d a0, (a1)\n00000073  ecall\n18c5b6af  sc.d a3, a2, (a1)'],
  ])('does not store when %s', (_, program) => {
    const { get, hart, ram } = createHart({ program, registers: { a1: DATA, a2: 9n, a4: DATA + 8n } });
    hart.restore({ ...hart.save(), mtvec: BigInt(RAM_BASE + 8) });
    hart.run(program.split('\n').length);
    expect(get('a3')).toBe(1n);
    expect(ram.getBigUint64(0x100, true)).not.toBe(9n);
  });

  it('drops the reservation with the saved state', () => {
    const { get, hart } = createHart({
      program: '1005b52f  lr.d a0, (a1)\n18c5b6af  sc.d a3, a2, (a1)',
      registers: { a1: DATA, a2: 9n },
    });
    hart.run(1);
    hart.restore(hart.save());
    hart.run(1);
    expect(get('a3')).toBe(1n);
  });
});

describe('where there is no RAM', () => {
  it.each([
    ['00c5a52f  amoadd.w a0, a2, (a1)', 7n],
    ['18c5a52f  sc.w a0, a2, (a1)', 7n],
    ['1005a52f  lr.w a0, (a1)', 5n],
  ])('%s is an access fault (PMAs AMONone, RsrvNone)', (program, cause) => {
    const { hart, step } = createHart({
      program,
      registers: { a1: 0x1000_0000n },
      bus: { load: () => 0n, store: () => true },
    });
    step();
    expect([hart.save().mcause, hart.save().mtval]).toEqual([cause, 0x1000_0000n]);
  });
});

it('loses no update of two harts in two threads on the same words', async () => {
  const rounds = 100_000n;
  const program = `
    00b5302f  amoadd.d zero, a1, (a0)
    100426af  lr.w a3, (s0)
    00168693  addi a3, a3, 1
    18d4272f  sc.w a4, a3, (s0)
    fe071ae3  bnez a4, .-12
    fff60613  addi a2, a2, -1
    fe0614e3  bnez a2, .-24
    10500073  wfi
  `;
  const registers = { a0: DATA, a1: 1n, a2: rounds, s0: DATA + 8n };
  const ram = new SharedArrayBuffer(RAM_SIZE);
  const start = new Int32Array(new SharedArrayBuffer(4));
  const second: SecondHart = { ram, program, registers, start };
  const first = createHart({ ram, program, registers });
  const worker = startWorker('test/guest/riscv/second-hart', second, { name: 'second hart' });
  try {
    await once(worker, 'message'); // ready
    const done = once(worker, 'message');
    Atomics.store(start, 0, 1);
    Atomics.notify(start, 0);
    while (first.hart.run(10_000) !== 'wfi');
    await done;
    expect([first.ram.getBigUint64(0x100, true), first.ram.getUint32(0x108, true)]).toEqual([
      2n * rounds,
      Number(2n * rounds),
    ]);
  } finally {
    await worker.terminate();
  }
});
