import { describe, expect, it } from 'vitest';

import { MODELS } from '../../../devices/board/device-types.ts';
import { answerHelp, deviceList } from '../../../tools/commands/device-help.ts';

const NAMES = MODELS.map(({ type }) => type.name);

/** Cells of the line that begins with `first`. */
function row(text: string, first: string): string[] {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${first} `));
  return line?.split(/ {2,}/) ?? [];
}

describe('--device help', () => {
  it('lists every device, and kvemu', () => {
    const names = deviceList('').match(/^\S+/gm);
    expect(names).toEqual([...NAMES, 'kvemu']);
    expect(JSON.parse(answerHelp('all', true)).map(({ name }: { name: string }) => name)).toEqual(names);
  });
});

describe('--device NAME,help', () => {
  it('prints the properties, with defaults as one would give them', () => {
    const text = answerHelp({ type: 'edu', properties: {} }, false);
    expect(row(text, 'dma-mask').slice(0, 3)).toEqual(['dma-mask', '0xfffffff', 'an unsigned 64-bit number']);
    expect(row(text, 'dma-latency-ms')[1]).toBe('100');
    expect(row(text, 'iommu')[1]).toBe('the first');
    expect(row(answerHelp({ type: 'ivshmem-plain', properties: {} }, false), 'size')[1]).toBe('1M');
  });

  it('prints the registers: offset, name, bytes, access, value after reset, meaning', () => {
    const text = answerHelp({ type: 'edu', properties: {} }, false);
    expect(row(text, '0x00')).toEqual(['0x00', 'ID', '4', 'ro', '0x10000ed', 'RRrr00ed: version RR.rr']);
  });

  it('names no IOMMU where there can be none', () => {
    expect(row(answerHelp({ type: 'mscribe', properties: {} }, false), 'iommu')).toEqual([]);
  });

  it('describes the BARs that the device has with those properties', () => {
    const bars = (properties: Readonly<Record<string, string>>) =>
      answerHelp({ type: 'pci-testdev', properties }, false)
        .match(/^BAR .*/gm)
        ?.map((line) => line.split(';')[0]);
    const tests = [
      'BAR 0: 4096 bytes, registers in memory space, accesses of 1 byte',
      expect.stringMatching(/^BAR 1: 256/),
    ];
    expect(bars({})).toEqual(tests);
    expect(bars({ membar: '1M', 'membar-backed': 'on', addr: '5' })).toEqual([
      ...tests,
      'BAR 2: 1048576 bytes, memory',
    ]);
  });

  it.each([...NAMES, 'kvemu'])('is one JSON document for %s as well', (type) => {
    const { name, summary, properties } = JSON.parse(answerHelp({ type, properties: {} }, true));
    expect({ name, summary }).toEqual({ name: type, summary: expect.any(String) });
    expect(properties.every((property: object) => 'default' in property && 'what' in property)).toBe(true);
  });

  it('describes a register in JSON by numbers', () => {
    const { bars } = JSON.parse(answerHelp({ type: 'edu', properties: {} }, true));
    const commands = bars[0].registers.filter(({ name }: { name: string }) => /^(IRQ_RAISE|DMA_COUNT)$/.test(name));
    expect(commands).toEqual([
      { name: 'IRQ_RAISE', at: 0x60, access: 'wo', width: 4, count: 1, reset: null, what: expect.any(String) },
      {
        ...{ name: 'DMA_COUNT', at: 0x90, access: 'rw', width: 8, count: 1, reset: 0 },
        what: 'bytes; not written while a transfer waits',
      },
    ]);
  });
});
