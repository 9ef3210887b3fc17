import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { device as pciTestdev } from '../../../devices/pci-testdev/device.ts';
import { REG } from '../../../devices/pci-testdev/regs.ts';
import { Bench } from '../bench.ts';
import { replay } from '../qtest-replay.ts';

const RECORDING = readFileSync(new URL('../vectors/pci-testdev.qtest', import.meta.url), 'utf8');
const PORTS = 1;

describe('pci-testdev', () => {
  it('answers as QEMU 11.1.3 did in the recording', () => {
    const { differences, compared } = replay(RECORDING, {
      type: pciTestdev,
      properties: { membar: '1M', 'membar-backed': 'on' },
      slot: 1,
      ecam: 0x3000_0000,
      portWindow: 0x300_0000,
      ram: [],
      skip: [],
    });

    expect(differences).toEqual([]);
    expect(compared).toBeGreaterThan(400);
  });

  function name(bench: Bench, bar: number): string {
    const bytes = Array.from({ length: 32 }, (_, i) => bench.endpoint.read(bar, REG.NAME + i, 1).lo);
    return String.fromCharCode(...bytes.slice(0, bytes.indexOf(0)));
  }

  it.each([
    ['mmio-no-eventfd', 0, 0, 0x800, 0xfa, 1],
    ['mmio-wildcard-eventfd', 0, 1, 0x801, 0xce, 2],
    ['mmio-datamatch-eventfd', 0, 2, 0x802, 0xfa, 1],
    ['portio-no-eventfd', PORTS, 0, 0x83, 0xfa, 1],
    ['portio-wildcard-eventfd', PORTS, 1, 0x84, 0xce, 2],
    ['portio-datamatch-eventfd', PORTS, 2, 0x85, 0xfa, 1],
  ])('%s counts its data, and other data only as a wildcard', (title, bar, test, offset, data, count) => {
    const bench = new Bench(pciTestdev);
    bench.setCommand(0x0003);
    const write = (at: number, value: number): void => bench.endpoint.write(bar, at, 1, value, 0);

    write(REG.TEST, test);
    write(offset, data);
    write(offset, data ^ 1);
    write(offset + 4, data);

    expect(name(bench, bar)).toBe(title);
    expect(bench.endpoint.read(bar, REG.OFFSET, 4).lo).toBe(offset);
    expect(bench.endpoint.read(bar, REG.COUNT, 4).lo).toBe(count);
  });

  it('selecting a test, the same one too, zeroes its count; a test there is not leaves zeros everywhere', () => {
    const bench = new Bench(pciTestdev);
    bench.setCommand(0x0002);
    bench.endpoint.write(0, REG.TEST, 1, 0, 0);
    bench.endpoint.write(0, 0x800, 1, 0xfa, 0);

    bench.endpoint.write(0, REG.TEST, 1, 0, 0);
    const count = bench.reg(REG.COUNT);
    bench.endpoint.write(0, REG.TEST, 1, 3, 0);

    expect(count).toBe(0);
    expect([0, 4, 8, 12, 16].map((at) => bench.reg(at))).toEqual([0, 0, 0, 0, 0]);
  });

  it('ports answer with I/O decoding on, registers with memory decoding on', () => {
    const bench = new Bench(pciTestdev);
    const read = () => [bench.endpoint.read(0, 0, 1).lo, bench.endpoint.read(PORTS, 0, 1).lo];

    bench.setCommand(0x0001);
    const io = read();
    bench.setCommand(0x0002);

    expect([io, read()]).toEqual([
      [0xffffffff, 0],
      [0, 0xffffffff],
    ]);
  });

  it('has no BAR 2 without membar, and one with nothing behind it unless it is backed', () => {
    const without = new Bench(pciTestdev);
    const empty = new Bench(pciTestdev, { membar: '64K' });
    empty.setCommand(0x0002);
    empty.endpoint.write(2, 0, 4, 0x1234, 0);

    expect(without.config(0x18, 4)).toBe(0);
    expect(empty.config(0x18, 4)).toBe(0xc);
    expect(empty.endpoint.read(2, 0, 8)).toEqual({ lo: 0, hi: 0 });
  });

  it.each([
    ['membar', '3K'],
    ['membar', '1000'],
    ['membar', '64k!'],
    ['membar-backed', 'yes'],
  ])('%s=%s is refused', (property, value) => {
    expect(() => new Bench(pciTestdev, { [property]: value })).toThrow(`pci-testdev: ${property}=${value}: expected`);
  });
});
