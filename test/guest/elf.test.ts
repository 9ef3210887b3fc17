import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { checkElf, loadElf, parseElf, readSymbols } from '../../guest/elf.ts';
import { elfFile, type Load } from './elf-file.ts';

const RAM_BASE = 0x8000_0000;
const EHDR = 64;
const FIRST = { paddr: RAM_BASE + 0x100, bytes: [1, 2, 3, 4], memorySize: 16 };
const FIRST_SEGMENT = { gpa: RAM_BASE + 0x100, bytes: Uint8Array.of(1, 2, 3, 4), memorySize: 16 };

/**
 * An executable with one segment: 4 bytes of file at RAM_BASE + 0x100, 16 bytes of memory; `edit`
 * spoils it.
 */
function executable(edit: (view: DataView) => void = () => undefined): Uint8Array {
  const file = elfFile({ entry: RAM_BASE + 0x100, loads: [FIRST] });
  edit(new DataView(file.buffer));
  return file;
}

const segmentsOf = (...loads: Load[]) => parseElf(elfFile({ entry: RAM_BASE, loads })).segments;

describe('parseElf', () => {
  it('gives the entry and the segments with their zero-filled tails', () => {
    const { entry, segments } = parseElf(executable());
    expect(entry).toBe(RAM_BASE + 0x100);
    expect(segments).toEqual([FIRST_SEGMENT]);
  });

  it('reads a file that lies within a larger buffer', () => {
    const file = executable();
    const padded = new Uint8Array(file.length + 3);
    padded.set(file, 3);
    expect(parseElf(padded.subarray(3)).entry).toBe(RAM_BASE + 0x100);
  });

  const NOT_ONE = 'not an ELF64 little-endian RISC-V executable';
  it.each([
    ['no magic number', (v: DataView) => v.setUint8(0, 0), NOT_ONE],
    ['32 bits', (v: DataView) => v.setUint8(4, 1), NOT_ONE],
    ['big endian', (v: DataView) => v.setUint8(5, 2), NOT_ONE],
    ['another machine', (v: DataView) => v.setUint16(18, 62, true), NOT_ONE],
    ['no program header', (v: DataView) => v.setUint16(56, 0, true), 'ELF executable without a loadable segment'],
    [
      'headers beyond the end',
      (v: DataView) => v.setUint16(56, 9, true),
      'ELF program header is beyond the end of the file',
    ],
    [
      'headers at the end of the 64-bit space',
      (v: DataView) => v.setBigUint64(32, 2n ** 64n - 56n, true),
      'ELF program header is beyond the end of the file',
    ],
    [
      'contents beyond the end',
      (v: DataView) => v.setBigUint64(EHDR + 32, 5n, true),
      'ELF segment reaches beyond the end of the file',
    ],
    [
      'contents that begin beyond the end of the 64-bit space',
      (v: DataView) => v.setBigUint64(EHDR + 8, 2n ** 64n - 2n, true),
      'ELF segment reaches beyond the end of the file',
    ],
    [
      'more file than memory',
      (v: DataView) => v.setBigUint64(EHDR + 40, 3n, true),
      'ELF segment is larger in the file than in memory',
    ],
    [
      'an entry that no machine has',
      (v: DataView) => v.setBigUint64(24, 1n << 60n, true),
      'ELF entry 0x1000000000000000 is out of range',
    ],
  ])('refuses %s with ENOEXEC and one clear line', (_, edit, message) => {
    expect(() => parseElf(executable(edit))).toThrow(expect.objectContaining({ code: 'ENOEXEC', message }));
  });

  it.each([0, 3, 63, 64, 100])('refuses a file cut off after %i bytes with ENOEXEC', (length) => {
    expect(() => parseElf(executable().subarray(0, length))).toThrow(expect.objectContaining({ code: 'ENOEXEC' }));
  });
});

/**
 * include/hw/elf_ops.h.inc and hw/core/loader.c of QEMU 10: only e_machine and the program headers
 * count.
 */
describe('what QEMU loads is loaded', () => {
  it.each([
    ['a symbol that is a negative number', { x: 2n ** 64n - 1n }],
    ['a symbol of 2^52', { x: 2n ** 52n }],
  ])('a file with %s', (_, symbols) => {
    expect(parseElf(elfFile({ entry: RAM_BASE, loads: [FIRST], symbols })).segments).toEqual([FIRST_SEGMENT]);
  });

  it.each([
    ['section headers beyond the end', (v: DataView) => v.setBigUint64(40, 1n << 40n, true)],
    ['section headers of another size', (v: DataView) => v.setUint16(58, 1, true)],
    ['program headers that say another size', (v: DataView) => v.setUint16(54, 32, true)],
    ['a type that is not ET_EXEC', (v: DataView) => v.setUint16(16, 3, true)],
  ])('a file with %s', (_, edit) => {
    const file = elfFile({ entry: RAM_BASE, loads: [FIRST], symbols: { x: 1n } });
    edit(new DataView(file.buffer));
    expect(parseElf(file).segments).toEqual([FIRST_SEGMENT]);
  });

  it.each([
    ['lies past the end of the file', { offset: 1 << 20, paddr: RAM_BASE }],
    ['lies outside of RAM', { paddr: 0 }],
    ['lies where no machine has memory', { paddr: 2n ** 63n, offset: 2n ** 63n }],
    ['lies within another one', { paddr: RAM_BASE + 0x108 }],
  ])('a file with an empty segment that %s', (_, empty) => {
    expect(segmentsOf(empty, FIRST)).toEqual([FIRST_SEGMENT]);
  });

  it('a segment of zeros only, wherever its offset points', () => {
    const zeros = { paddr: RAM_BASE + 0x1000, memorySize: 32, offset: 1n << 60n };
    expect(segmentsOf(FIRST, zeros)).toEqual([
      FIRST_SEGMENT,
      { gpa: RAM_BASE + 0x1000, bytes: Uint8Array.of(), memorySize: 32 },
    ]);
  });

  it('by physical addresses, and the entry is where its code was loaded', () => {
    const loads = [{ paddr: RAM_BASE, vaddr: 0xffff_ffff_8000_0000n, bytes: [1, 2, 3, 4], flags: 5 }];
    const { entry, segments } = parseElf(elfFile({ entry: 0xffff_ffff_8000_0002n, loads }));
    expect([entry, segments[0]!.gpa]).toEqual([RAM_BASE + 2, RAM_BASE]);
  });

  it('an entry in no code is a physical one', () => {
    const loads = [{ paddr: RAM_BASE, vaddr: 0x1000, bytes: [1, 2, 3, 4], flags: 6 }];
    expect(parseElf(elfFile({ entry: 0x1000, loads })).entry).toBe(0x1000);
  });

  it('zeros that would run into another segment are left to the guest', () => {
    const next = { paddr: RAM_BASE + 0x10c, bytes: [9] };
    expect(segmentsOf(FIRST, next)).toEqual([
      { ...FIRST_SEGMENT, memorySize: 4 },
      { gpa: RAM_BASE + 0x10c, bytes: Uint8Array.of(9), memorySize: 1 },
    ]);
  });

  it.each([
    ['behind', RAM_BASE + 0x103, 'ELF segment 0x80000100+0x4 overlaps segment 0x80000103+0x1'],
    ['before', RAM_BASE + 0x100, 'ELF segment 0x80000100+0x4 overlaps segment 0x80000100+0x1'],
  ])('contents that overlap are not: one byte %s', (_, paddr, message) => {
    expect(() => segmentsOf({ ...FIRST, memorySize: 4 }, { paddr, bytes: [9] })).toThrow(
      expect.objectContaining({ code: 'ENOEXEC', message }),
    );
  });
});

describe('readSymbols', () => {
  it('gives the symbols of a real program', () => {
    const symbols = readSymbols(readFileSync('guest/programs/hello.elf'));
    expect(symbols.get('_start')).toBe(BigInt(RAM_BASE));
    expect(symbols.get('main')).toBeGreaterThan(BigInt(RAM_BASE));
  });

  it('gives any value that 64 bits can have', () => {
    const symbols = { tohost: 0x8000_1000n, minus_one: 2n ** 64n - 1n };
    expect(readSymbols(elfFile({ entry: RAM_BASE, loads: [FIRST], symbols }))).toEqual(
      new Map(Object.entries(symbols)),
    );
  });

  it.each([
    ['a file without a section', executable()],
    ['something short', Uint8Array.of(1, 2, 3)],
    ['a table that is not all there', elfFile({ entry: 0, loads: [FIRST], symbols: { x: 1n } }).subarray(0, -1)],
  ])('gives none for %s', (_, file) => {
    expect(readSymbols(file)).toEqual(new Map());
  });
});

describe('loadElf', () => {
  it('copies the contents and clears the rest of each segment, nothing else', () => {
    const ram = new Uint8Array(0x200).fill(0xff);
    loadElf(parseElf(executable()), ram, RAM_BASE);
    expect([...ram.subarray(0xff, 0x112)]).toEqual([0xff, 1, 2, 3, 4, ...new Array(12).fill(0), 0xff, 0xff]);
  });

  it('clears nothing in RAM that is zero', () => {
    const ram = new Uint8Array(0x200).fill(0xff); // it shows what is written
    loadElf(parseElf(executable()), ram, RAM_BASE, { isZero: true });
    expect([...ram.subarray(0xff, 0x112)]).toEqual([0xff, 1, 2, 3, 4, ...new Array(14).fill(0xff)]);
  });

  it.each([
    ['below', RAM_BASE + 0x101, 0x200],
    ['beyond', RAM_BASE, 0x10f],
  ])('refuses a segment that reaches %s RAM and copies nothing', (_, base, size) => {
    const ram = new Uint8Array(size);
    const load = () => loadElf(parseElf(executable()), ram, base);
    expect(load).toThrow(
      expect.objectContaining({ code: 'ENOEXEC', message: 'ELF segment 0x80000100+0x10 is outside of RAM' }),
    );
    expect(ram.every((byte) => byte === 0)).toBe(true);
  });

  it.each([
    ['a size', { paddr: RAM_BASE, memorySize: 1n << 60n }, '0x80000000+0x1000000000000000'],
    ['an address', { paddr: 1n << 60n, memorySize: 16 }, '0x1000000000000000+0x10'],
    ['an end', { paddr: 2n ** 64n - 16n, memorySize: 32 }, '0x10000000000000000+0x20'],
  ])('refuses %s that no machine has', (_, segment, range) => {
    const image = parseElf(elfFile({ entry: RAM_BASE, loads: [segment] }));
    expect(() => checkElf(image, 2 ** 32, RAM_BASE)).toThrow(`ELF segment ${range} is outside of RAM`);
  });
});
