import { describe, expect, it } from 'vitest';

import { device as edu } from '../../../devices/edu/device.ts';
import * as regs from '../../../devices/edu/regs.ts';
import { Bench } from '../bench.ts';

const MS = 1e6;
const RAM = 0x10_0000;
const HUGE_N = 0x2222_2222;
const RUN = 1n;
const TO_BUS = 2n;
const WITH_IRQ = 4n;

function ready(properties: Readonly<Record<string, string>> = { 'dma-latency-ms': '0' }): Bench {
  const bench = new Bench(edu, properties).ready();
  bench.memory.back(RAM, RAM + 0x2000);
  return bench;
}

function startDma(bench: Bench, source: bigint, destination: bigint, count: bigint, command: bigint): void {
  bench.setWide(regs.REG.DMA_SOURCE, source);
  bench.setWide(regs.REG.DMA_DESTINATION, destination);
  bench.setWide(regs.REG.DMA_COUNT, count);
  bench.setWide(regs.REG.DMA_COMMAND, command);
}

describe('factorial (docs/machine.md, "edu: registers")', () => {
  it.each([
    [0, 1],
    [1, 1],
    [13, 0x7328cc00],
    [20, 0x82b40000],
    [33, 0x80000000],
    [34, 0],
    [0xffffffff, 0],
  ])('%i! mod 2^32 = 0x%s', (n, result) => {
    const bench = ready();

    bench.setReg(regs.REG.FACTORIAL, n);
    bench.advance(5000 * MS);

    expect(bench.reg(regs.REG.FACTORIAL)).toBe(result);
    expect(bench.reg(regs.REG.STATUS)).toBe(0);
  });

  it('a huge n computes for 0.6 s, with registers answering and further n ignored', () => {
    const bench = ready();

    bench.setReg(regs.REG.FACTORIAL, HUGE_N);
    bench.advance(500 * MS);
    bench.setReg(regs.REG.FACTORIAL, 5);
    const meanwhile = { n: bench.reg(regs.REG.FACTORIAL), status: bench.reg(regs.REG.STATUS) };
    bench.advance(100 * MS);

    expect(meanwhile).toEqual({ n: HUGE_N, status: regs.STATUS_COMPUTING });
    expect(bench.reg(regs.REG.STATUS)).toBe(0);
    expect(bench.reg(regs.REG.FACTORIAL)).toBe(0);
  });

  it('tells its end by interrupt 0x1 when status bit 7 is set by then', () => {
    const bench = ready();
    bench.setReg(regs.REG.FACTORIAL, 6);
    bench.setReg(regs.REG.STATUS, 0xff);

    bench.advance(MS);

    expect(bench.reg(regs.REG.IRQ_STATUS)).toBe(regs.IRQ_FACTORIAL);
    expect(bench.reg(regs.REG.STATUS)).toBe(regs.STATUS_IRQ_FACTORIAL);
    expect(bench.line.edges).toEqual(['raise']);
  });
});

describe('DMA engine (docs/machine.md, "edu: DMA")', () => {
  it('carries bytes from the bus to the buffer and back, and tells by interrupt 0x100', () => {
    const bench = ready();
    bench.memory.poke(RAM, Uint8Array.of(1, 2, 3, 4));

    startDma(bench, BigInt(RAM), regs.BUFFER_START, 4n, RUN);
    bench.advance(0);
    startDma(bench, regs.BUFFER_START, BigInt(RAM + 0x1000), 4n, RUN | TO_BUS | WITH_IRQ);
    bench.advance(0);

    expect([...bench.memory.bytes(RAM + 0x1000, 4)]).toEqual([1, 2, 3, 4]);
    expect(bench.reg(regs.REG.IRQ_STATUS)).toBe(regs.IRQ_DMA);
    expect(bench.timeline.entries.map((entry) => entry.bytes)).toEqual([4, 4]);
  });

  it('waits dma-latency-ms, by default 100', () => {
    const bench = ready({});

    startDma(bench, BigInt(RAM), regs.BUFFER_START, 4n, RUN);
    bench.advance(99 * MS);
    const before = bench.halves(regs.REG.DMA_COMMAND, 8).lo;
    bench.advance(MS);

    expect(before).toBe(1);
    expect(bench.halves(regs.REG.DMA_COMMAND, 8).lo).toBe(0);
  });

  it.each([
    ['starts below the buffer', regs.BUFFER_START - 1n, 4n],
    ['ends behind it', regs.BUFFER_END - 3n, 4n],
    ['wraps at 2^64', regs.BUFFER_START, 2n ** 64n - 1n],
  ])('a transfer that %s moves nothing, ends and interrupts', (_what, inner, count) => {
    const bench = ready();
    bench.memory.poke(RAM, Uint8Array.of(0xaa, 0xaa, 0xaa, 0xaa));

    startDma(bench, inner, BigInt(RAM), count, RUN | TO_BUS | WITH_IRQ);
    bench.advance(0);

    expect([...bench.memory.bytes(RAM, 4)]).toEqual([0xaa, 0xaa, 0xaa, 0xaa]);
    expect(bench.halves(regs.REG.DMA_COMMAND, 8).lo).toBe(6);
    expect(bench.reg(regs.REG.IRQ_STATUS)).toBe(regs.IRQ_DMA);
  });

  it('the dma-mask drops address bits silently; the default leaves 28', () => {
    const bench = ready();
    bench.memory.poke(RAM, Uint8Array.of(9));

    startDma(bench, BigInt(RAM) + 0x7_0000_0000n, regs.BUFFER_START, 1n, RUN);
    bench.advance(0);
    startDma(bench, regs.BUFFER_START, BigInt(RAM + 0x1000), 1n, RUN | TO_BUS);
    bench.advance(0);

    expect([...bench.memory.bytes(RAM + 0x1000, 1)]).toEqual([9]);
  });

  it('a read that the bus refuses half-way fills the rest of the buffer with zeros', () => {
    const bench = ready();
    const lastBytes = RAM + 0x2000 - 2;
    bench.memory.poke(lastBytes, Uint8Array.of(7, 7));
    startDma(bench, BigInt(RAM), regs.BUFFER_START, 8n, RUN);
    bench.advance(0);

    startDma(bench, BigInt(lastBytes), regs.BUFFER_START, 8n, RUN);
    bench.advance(0);
    startDma(bench, regs.BUFFER_START, BigInt(RAM), 8n, RUN | TO_BUS);
    bench.advance(0);

    expect([...bench.memory.bytes(RAM, 8)]).toEqual([7, 7, 0, 0, 0, 0, 0, 0]);
  });
});
