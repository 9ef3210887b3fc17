import { enoexec } from '../platform/errno.ts';

/** ELF-64 as in the System V gABI 4.1 chapters 4 and 5 and the RISC-V ELF psABI: just what loading a kernel needs. */

const ELFMAG = 0x464c_457f; // "\x7fELF" as a little-endian word
const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;
const ET_EXEC = 2;
const EM_RISCV = 243;
const PT_LOAD = 1;
const SHT_SYMTAB = 2;

const EHDR_SIZE = 64;
const PHDR_SIZE = 56;
const SHDR_SIZE = 64;
const SYM_SIZE = 24;

/** A PT_LOAD segment: `bytes` go to [gpa, gpa + bytes.length), zeros from there to gpa + memorySize. */
export interface ElfSegment {
  readonly gpa: number;
  readonly bytes: Uint8Array;
  readonly memorySize: number;
}

export interface ElfImage {
  readonly entry: number;
  readonly segments: readonly ElfSegment[];
  /** Names of the symbol table and their values; empty for a stripped file. */
  readonly symbols: ReadonlyMap<string, number>;
}

/** Reads an executable. ENOEXEC with one line that says what is wrong, as execve(2) would refuse it. */
export function parseElf(file: Uint8Array): ElfImage {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (
    file.length < EHDR_SIZE ||
    view.getUint32(0, true) !== ELFMAG ||
    view.getUint8(4) !== ELFCLASS64 ||
    view.getUint8(5) !== ELFDATA2LSB ||
    view.getUint16(18, true) !== EM_RISCV ||
    view.getUint16(16, true) !== ET_EXEC
  ) {
    throw enoexec('not an ELF64 little-endian RISC-V executable');
  }
  const segments: ElfSegment[] = [];
  for (const header of table(view, 'program header', 32, 54, PHDR_SIZE)) {
    if (header.getUint32(0, true) !== PT_LOAD) continue;
    const offset = u64(header, 8, 'p_offset');
    const fileSize = u64(header, 32, 'p_filesz');
    const memorySize = u64(header, 40, 'p_memsz');
    if (offset + fileSize > file.length) throw enoexec('ELF segment reaches beyond the end of the file');
    if (fileSize > memorySize) throw enoexec('ELF segment is larger in the file than in memory');
    if (memorySize === 0) continue;
    segments.push({ gpa: u64(header, 24, 'p_paddr'), bytes: file.subarray(offset, offset + fileSize), memorySize });
  }
  if (segments.length === 0) throw enoexec('ELF executable without a loadable segment');
  return { entry: u64(view, 24, 'e_entry'), segments, symbols: parseSymbols(view) };
}

/** Copies the segments into RAM at [ramBase, ramBase + ram.length). ENOEXEC, with nothing copied, if one does not fit. */
export function loadElf(image: ElfImage, ram: Uint8Array, ramBase: number): void {
  for (const { gpa, memorySize } of image.segments) {
    if (gpa < ramBase || gpa + memorySize > ramBase + ram.length) {
      throw enoexec(`ELF segment 0x${gpa.toString(16)}+0x${memorySize.toString(16)} is outside of RAM`);
    }
  }
  for (const { gpa, bytes, memorySize } of image.segments) {
    const at = gpa - ramBase;
    ram.set(bytes, at);
    ram.fill(0, at + bytes.length, at + memorySize);
  }
}

function parseSymbols(view: DataView): ReadonlyMap<string, number> {
  const symbols = new Map<string, number>();
  const sections = table(view, 'section header', 40, 58, SHDR_SIZE);
  const symtab = sections.find((section) => section.getUint32(4, true) === SHT_SYMTAB);
  const strings = symtab && sections[symtab.getUint32(40, true)];
  if (!symtab || !strings) return symbols;
  const names = slice(view, u64(strings, 24, 'sh_offset'), u64(strings, 32, 'sh_size'), 'string table');
  const entries = slice(view, u64(symtab, 24, 'sh_offset'), u64(symtab, 32, 'sh_size'), 'symbol table');
  for (let at = 0; at + SYM_SIZE <= entries.byteLength; at += SYM_SIZE) {
    const name = cString(names, entries.getUint32(at, true));
    if (name !== '') symbols.set(name, u64(entries, at + 8, `value of symbol ${name}`));
  }
  return symbols;
}

/** One view per entry of a header table; its offset and entry count stand in the ELF header at the places given. */
function table(view: DataView, what: string, offsetAt: number, sizeAt: number, entrySize: number): DataView[] {
  const offset = u64(view, offsetAt, `${what} offset`);
  const count = view.getUint16(sizeAt + 2, true);
  if (count === 0) return [];
  if (view.getUint16(sizeAt, true) !== entrySize) throw enoexec(`ELF ${what} of unexpected size`);
  return Array.from({ length: count }, (_, i) => slice(view, offset + i * entrySize, entrySize, what));
}

function slice(view: DataView, offset: number, size: number, what: string): DataView {
  if (offset + size > view.byteLength) throw enoexec(`ELF ${what} is beyond the end of the file`);
  return new DataView(view.buffer, view.byteOffset + offset, size);
}

function cString(view: DataView, offset: number): string {
  let text = '';
  for (let at = offset; at < view.byteLength && view.getUint8(at) !== 0; at++) {
    text += String.fromCharCode(view.getUint8(at));
  }
  return text;
}

/** A 64-bit field as an exact number. */
function u64(view: DataView, offset: number, what: string): number {
  const value = view.getBigUint64(offset, true);
  if (value >= 1n << 52n) throw enoexec(`ELF ${what} 0x${value.toString(16)} is out of range`);
  return Number(value);
}
