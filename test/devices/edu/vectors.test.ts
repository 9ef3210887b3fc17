import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { device as edu } from '../../../devices/edu/device.ts';
import { type ReplayMachine, replay } from '../qtest-replay.ts';

const INTERCEPT = { command: /^irq_intercept_in/, reason: 'qtest set-up, not an access' };

const VIRT: ReplayMachine = {
  type: edu,
  properties: { 'dma-mask': '0xffffffffffffffff' },
  slot: 1,
  ecam: 0x3000_0000,
  ram: [[0x8000_0000, 0x9000_0000]],
  skip: [
    INTERCEPT,
    { command: /^readl 0x3000000[08]$/, reason: 'host bridge of riscv virt' },
    { command: /^(readl|writel) 0xc[0-9a-f]{6}/, reason: 'PLIC of riscv virt' },
  ],
};

/**
 * q35 without firmware: port 0xcf8 writes are the machine's, the data accesses after them are told
 * apart by the address.
 */
const Q35: ReplayMachine = {
  type: edu,
  properties: {},
  slot: 4,
  ram: [
    [0, 0xa0000],
    [0x10_0000, 0x2000_0000],
  ],
  skip: [INTERCEPT],
};

/** Recorded answers that are not edu's: line → why. */
const FOREIGN: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  'virt-edu': {},
  'q35-edu-basic': {
    8: 'host bridge of q35 (8086:29c0)',
    12: 'host bridge of q35, class',
    140: 'LPC bridge of q35 (8086:2918)',
    144: 'LPC bridge of q35, class',
  },
  'q35-edu-dma': {},
  'q35-edu-msi': {},
};

const FILES: readonly (readonly [string, ReplayMachine, number])[] = [
  ['virt-edu', VIRT, 150],
  ['q35-edu-basic', Q35, 240],
  ['q35-edu-dma', Q35, 130],
  ['q35-edu-msi', Q35, 80],
];

describe('edu answers as QEMU 11.1.3 did in the recording', () => {
  it.each(FILES)('%s', (name, machine, atLeast) => {
    const text = readFileSync(new URL(`../vectors/${name}.qtest`, import.meta.url), 'utf8');

    const { differences, compared } = replay(text, machine);

    const ours = differences.filter((line) => !(Number(/^line (\d+)/.exec(line)![1]) in FOREIGN[name]!));
    expect(ours).toEqual([]);
    expect(differences.length - ours.length).toBe(Object.keys(FOREIGN[name]!).length);
    expect(compared).toBeGreaterThan(atLeast);
  });

  it('a device with another DMA latency does not replay', () => {
    const text = readFileSync(new URL('../vectors/q35-edu-dma.qtest', import.meta.url), 'utf8');

    const { differences } = replay(text, { ...Q35, properties: { 'dma-latency-ms': '99' } });

    expect(differences).not.toEqual([]);
  });
});
