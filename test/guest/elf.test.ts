import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { loadElf, parseElf } from '../../guest/elf.ts';

const RAM_BASE = 0x8000_0000;
const EHDR = 64;
const PHDR = 56;

/** An executable with one segment: 4 bytes of file at RAM_BASE + 0x100, 16 bytes of memory; `edit` spoils it. */
function executable(edit: (view: DataView) => void = () => undefined): Uint8Array {
  const file = new Uint8Array(EHDR + PHDR + 4);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true); // e_type ET_EXEC
  view.setUint16(18, 243, true); // e_machine EM_RISCV
  view.setBigUint64(24, BigInt(RAM_BASE + 0x100), true); // e_entry
  view.setBigUint64(32, BigInt(EHDR), true); // e_phoff
  view.setUint16(54, PHDR, true); // e_phentsize
  view.setUint16(56, 1, true); // e_phnum
  view.setUint32(EHDR, 1, true); // p_type PT_LOAD
  view.setBigUint64(EHDR + 8, BigInt(EHDR + PHDR), true); // p_offset
  view.setBigUint64(EHDR + 24, BigInt(RAM_BASE + 0x100), true); // p_paddr
  view.setBigUint64(EHDR + 32, 4n, true); // p_filesz
  view.setBigUint64(EHDR + 40, 16n, true); // p_memsz
  file.set([1, 2, 3, 4], EHDR + PHDR);
  edit(view);
  return file;
}

describe('parseElf', () => {
  it('gives the entry and the segments with their zero-filled tails', () => {
    const { entry, segments } = parseElf(executable());
    expect(entry).toBe(RAM_BASE + 0x100);
    expect(segments).toEqual([{ gpa: RAM_BASE + 0x100, bytes: Uint8Array.of(1, 2, 3, 4), memorySize: 16 }]);
  });

  it('gives the symbols of a real program', () => {
    const { symbols, entry } = parseElf(readFileSync('guest/programs/hello.elf'));
    expect(entry).toBe(RAM_BASE);
    expect(symbols.get('_start')).toBe(RAM_BASE);
    expect(symbols.get('main')).toBeGreaterThan(RAM_BASE);
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
    ['a relocatable object', (v: DataView) => v.setUint16(16, 1, true), NOT_ONE],
    ['no program header', (v: DataView) => v.setUint16(56, 0, true), 'ELF executable without a loadable segment'],
    [
      'headers beyond the end',
      (v: DataView) => v.setUint16(56, 9, true),
      'ELF program header is beyond the end of the file',
    ],
    ['headers of another size', (v: DataView) => v.setUint16(54, 32, true), 'ELF program header of unexpected size'],
    [
      'contents beyond the end',
      (v: DataView) => v.setBigUint64(EHDR + 32, 5n, true),
      'ELF segment reaches beyond the end of the file',
    ],
    [
      'more file than memory',
      (v: DataView) => v.setBigUint64(EHDR + 40, 3n, true),
      'ELF segment is larger in the file than in memory',
    ],
    [
      'a size that no machine has',
      (v: DataView) => v.setBigUint64(EHDR + 40, 1n << 60n, true),
      'ELF p_memsz 0x1000000000000000 is out of range',
    ],
  ])('refuses %s with ENOEXEC and one clear line', (_, edit, message) => {
    expect(() => parseElf(executable(edit))).toThrow(expect.objectContaining({ code: 'ENOEXEC', message }));
  });

  it.each([0, 3, 63, 64, 100])('refuses a file cut off after %i bytes with ENOEXEC', (length) => {
    expect(() => parseElf(executable().subarray(0, length))).toThrow(expect.objectContaining({ code: 'ENOEXEC' }));
  });
});

describe('loadElf', () => {
  it('copies the contents and clears the rest of each segment, nothing else', () => {
    const ram = new Uint8Array(0x200).fill(0xff);
    loadElf(parseElf(executable()), ram, RAM_BASE);
    expect([...ram.subarray(0xff, 0x112)]).toEqual([0xff, 1, 2, 3, 4, ...new Array(12).fill(0), 0xff, 0xff]);
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
});
