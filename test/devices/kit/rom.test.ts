/** The expansion ROM of a function (PCI 3.0 §6.2.5.2). */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

import { planDevices } from '../../../devices/board/floor-plan.ts';
import { readRom } from '../../../devices/kit/rom.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-rom-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const file = (bytes: number): string => {
  const path = join(folder, 'rom');
  writeFileSync(path, new Uint8Array(bytes).fill(1));
  return path;
};

it('is filled up with ones to a power of two, at least 2 KiB', () => {
  expect(readRom(file(1))).toEqual(new Uint8Array(2048).fill(0xff).fill(1, 0, 1));
  expect(readRom(file(4097)).length).toBe(8192);
});

it('needs a file with something in it, and not too much', () => {
  expect(() => readRom(join(folder, 'none'))).toThrow(/romfile=.*none: ENOENT/);
  execFileSync('mkfifo', [join(folder, 'fifo')]);
  expect(() => readRom(join(folder, 'fifo'))).toThrow(/romfile=.*fifo: not a regular file/);
  expect(() => readRom(file(0))).toThrow('0 bytes; a ROM has 1 to 16777216');
  expect(() => readRom(file(2 ** 24 + 1))).toThrow('16777217 bytes');
});

it('gets an address from firmware, aligned to its size', () => {
  const properties = { romfile: file(65_536) };
  const [device] = planDevices({ devices: [{ type: 'capture', properties }], units: ['iommu0'], firstGroup: 0 });
  expect(device!.rom?.length).toBe(65_536);
  expect(device!.barAddresses[6]! % 65_536).toBe(0);
});
