import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { wholeOf } from '../../../../platform/shared.ts';
import { FwCfg, ITEM } from '../../../../vmm/machine/shared/fw-cfg.ts';
import { fwCfgContents } from '../../../../vmm/machine/shared/fw-cfg-contents.ts';
import { RAM_BASE } from '../../../../vmm/machine/shared/memory-map.ts';
import { RamMemory } from '../../../../vmm/machine/shared/ram-memory.ts';

const [SELECTOR, DMA, DMA_LOW] = [8, 0x10, 0x14];
const [READ, SKIP, SELECT, WRITE] = [2, 4, 8, 16];
const COMMAND = 0x100;
const TARGET = 0x200;
const FILE = ITEM.FIRST_FILE;

let folder: string;
let ram: DataView;
let device: FwCfg;

const newDevice = (): FwCfg => {
  const boot = { kernel: join(folder, 'kernel'), append: 'quiet' };
  const files = [
    { name: 'opt/z', text: 'last' },
    { name: 'opt/a', text: 'hello' },
  ];
  return new FwCfg(new RamMemory(wholeOf(ram.buffer as SharedArrayBuffer)), fwCfgContents({ harts: 3, boot, files }));
};

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-fw-cfg-'));
  writeFileSync(join(folder, 'kernel'), gzipSync(Buffer.from('the kernel')));
});
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(() => {
  ram = new DataView(new SharedArrayBuffer(0x1000));
  device = newDevice();
});

const select = (item: number): unknown => device.store(SELECTOR, 2, BigInt(((item & 0xff) << 8) | (item >> 8)));
const next = (size: 1 | 2 | 4 | 8): number => Number(device.load(0, size));
const text = (length: number): string => String.fromCharCode(...Array.from({ length }, () => next(1)));

/** Runs a command; the control word after it. */
function dma(control: number, length: number, to = RAM_BASE + TARGET, at = RAM_BASE + COMMAND): number {
  ram.setUint32(COMMAND, control);
  ram.setUint32(COMMAND + 4, length);
  ram.setBigUint64(COMMAND + 8, BigInt(to));
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt(at));
  device.store(DMA, 4, BigInt(view.getUint32(0, true)));
  device.store(DMA_LOW, 4, BigInt(view.getUint32(4, true)));
  return ram.getUint32(COMMAND);
}
const target = (length: number): string => Buffer.from(new Uint8Array(ram.buffer, TARGET, length)).toString('latin1');

describe('fw_cfg', () => {
  it('gives items by the data register, byte by byte or wider, and zeros behind them', () => {
    select(ITEM.SIGNATURE);
    expect([text(4), next(4)]).toEqual(['QEMU', 0]);
    select(ITEM.NB_CPUS);
    expect(next(2)).toBe(3);
    select(0x3ffe);
    expect(next(8)).toBe(0);
  });

  it('has a directory of the files, by name', () => {
    select(ITEM.FILE_DIR);
    const directory = Buffer.from(Array.from({ length: 4 + 2 * 64 }, () => next(1)));
    expect(directory.readUInt32BE(0)).toBe(2);
    expect([directory.readUInt32BE(4), directory.readUInt16BE(8), directory.toString('latin1', 12, 18)]).toEqual([
      5,
      FILE,
      'opt/a\0',
    ]);
    expect(directory.toString('latin1', 12 + 64, 12 + 69)).toBe('opt/z');
  });

  it('has the kernel, unpacked, and its command line', () => {
    select(ITEM.KERNEL_SIZE);
    const size = next(4);
    select(ITEM.KERNEL_DATA);
    expect(text(size)).toBe('the kernel');
    select(ITEM.CMDLINE_SIZE);
    expect(next(4)).toBe(6);
    select(ITEM.CMDLINE_DATA);
    expect(text(6)).toBe('quiet\0');
  });

  it('reads by DMA, from where the item was left, with zeros behind its end', () => {
    ram.setUint8(TARGET + 5, 0xff);
    expect(dma((FILE << 16) | SELECT | READ, 2)).toBe(0);
    expect(target(2)).toBe('he');
    expect(dma(SKIP, 1)).toBe(0);
    expect(dma(READ, 4)).toBe(0);
    expect(target(4)).toBe('lo\0\0');
  });

  it.each([
    { what: 'to write', run: () => dma((FILE << 16) | SELECT | WRITE, 1) },
    { what: 'memory that is none', run: () => dma((FILE << 16) | SELECT | READ, 1, 0x10) },
    { what: 'memory that ends', run: () => dma((FILE << 16) | SELECT | READ, 0x2000) },
  ])('refuses $what', ({ run }) => {
    expect(run()).toBe(1);
  });

  it('survives a command that is not in memory', () => {
    ram.setUint32(COMMAND, 0);
    dma(READ, 1, RAM_BASE, 2 ** 60);
    expect(ram.getUint32(COMMAND)).toBe(READ);
  });

  it('goes on in the next image where it was, and in the middle of an address', () => {
    select(FILE);
    next(1);
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, BigInt(RAM_BASE + COMMAND));
    device.store(DMA, 4, BigInt(view.getUint32(0, true)));
    const state = device.save();
    device = newDevice();
    device.restore(state);
    ram.setUint32(COMMAND, READ);
    ram.setUint32(COMMAND + 4, 4);
    ram.setBigUint64(COMMAND + 8, BigInt(RAM_BASE + TARGET));
    device.store(DMA_LOW, 4, BigInt(view.getUint32(4, true)));
    expect(target(4)).toBe('ello');
  });
});
