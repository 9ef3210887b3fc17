import { enoexec } from '../platform/errno.ts';
import { hex } from '../platform/hex.ts';

/**
 * Reads ELF-64 files, as in the System V gABI 4.1 chapters 4 and 5 and the RISC-V ELF psABI: just
 * what loading a kernel needs. It accepts what QEMU's loader accepts (include/hw/elf_ops.h.inc,
 * hw/core/loader.c, v10): only the program headers of the file count. One thing differs: a segment
 * that QEMU would silently not load, because no RAM is there, is refused.
 */

const ELFMAG = 0x464c_457f; // "\x7fELF" as a little-endian word
const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;
const EM_RISCV = 243;
const PT_LOAD = 1;
const PF_X = 1;
const SHT_SYMTAB = 2;

const EHDR_SIZE = 64;
const PHDR_SIZE = 56;
const SHDR_SIZE = 64;
const SYM_SIZE = 24;

/**
 * A PT_LOAD segment that is not empty: `bytes` go to [gpa, gpa + bytes.length), zeros from there to
 * gpa + memorySize.
 */
export interface ElfSegment {
  readonly gpa: number;
  readonly bytes: Uint8Array;
  readonly memorySize: number;
}

export interface ElfImage {
  /** The guest-physical address at which the guest begins. */
  readonly entry: number;
  readonly segments: readonly ElfSegment[];
}

/**
 * Reads an executable. A bad file is ENOEXEC, as from execve(2), with one line that says what is
 * wrong.
 */
export function parseElf(file: Uint8Array): ElfImage {
  const view = viewOf(file);
  if (
    file.length < EHDR_SIZE ||
    view.getUint32(0, true) !== ELFMAG ||
    view.getUint8(4) !== ELFCLASS64 ||
    view.getUint8(5) !== ELFDATA2LSB ||
    view.getUint16(18, true) !== EM_RISCV
  ) {
    throw enoexec('not an ELF64 little-endian RISC-V executable');
  }
  const headers = table(view, view.getBigUint64(32, true), view.getUint16(56, true), PHDR_SIZE);
  if (!headers) throw enoexec('ELF program header is beyond the end of the file');
  const loads = headers.filter((header) => header.getUint32(0, true) === PT_LOAD);
  const segments = loads.flatMap((header) => segmentOf(header, file) ?? []);
  if (segments.length === 0) throw enoexec('ELF executable without a loadable segment');
  return { entry: physicalEntry(view.getBigUint64(24, true), loads), segments: apart(segments) };
}

/** Checks that all segments lie within RAM at [ramBase, ramBase + ramSize); ENOEXEC otherwise. */
export function checkElf({ segments }: ElfImage, ramSize: number, ramBase: number): void {
  for (const segment of segments) {
    const { gpa, memorySize } = segment;
    if (gpa < ramBase || gpa + memorySize > ramBase + ramSize) throw enoexec(`${nameOf(segment)} is outside of RAM`);
  }
}

/**
 * Copies the segments into RAM at [ramBase, ramBase + ram.length). ENOEXEC, with nothing copied, if
 * one does not fit. `isZero`: RAM has never been written, so its zeros need no writing, which would
 * take memory for each page.
 */
export function loadElf(image: ElfImage, ram: Uint8Array, ramBase: number, { isZero = false } = {}): void {
  checkElf(image, ram.length, ramBase);
  for (const { gpa, bytes, memorySize } of image.segments) {
    const at = gpa - ramBase;
    ram.set(bytes, at);
    if (!isZero) ram.fill(0, at + bytes.length, at + memorySize);
  }
}

/**
 * The names in the symbol table and their values; empty for a stripped file. They are for people
 * and tests: nothing is loaded by them. Symbols that cannot be read are left out.
 */
export function readSymbols(file: Uint8Array): ReadonlyMap<string, bigint> {
  const symbols = new Map<string, bigint>();
  const view = viewOf(file);
  if (file.length < EHDR_SIZE) return symbols;
  const sections = table(view, view.getBigUint64(40, true), view.getUint16(60, true), SHDR_SIZE) ?? [];
  const symtab = sections.find((section) => section.getUint32(4, true) === SHT_SYMTAB);
  const strtab = symtab && sections[symtab.getUint32(40, true)];
  const entries = symtab && contentsOf(symtab, view);
  const names = strtab && contentsOf(strtab, view);
  if (!entries || !names) return symbols;
  for (let at = 0; at + SYM_SIZE <= entries.byteLength; at += SYM_SIZE) {
    const name = cString(names, entries.getUint32(at, true));
    if (name !== '') symbols.set(name, entries.getBigUint64(at + 8, true));
  }
  return symbols;
}

const viewOf = ({ buffer, byteOffset, byteLength }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, byteLength);

const nameOf = ({ gpa, memorySize }: ElfSegment): string => `ELF segment ${hex(gpa)}+${hex(memorySize)}`;

/** What a PT_LOAD header puts into memory; undefined for nothing at all. */
function segmentOf(header: DataView, file: Uint8Array): ElfSegment | undefined {
  const fileSize = sizeAt(header, 32);
  const memorySize = sizeAt(header, 40);
  if (fileSize > memorySize) throw enoexec('ELF segment is larger in the file than in memory');
  if (memorySize === 0) return undefined;
  const offset = fileSize === 0 ? 0 : sizeAt(header, 8); // an empty segment has no offset
  if (offset + fileSize > file.length) throw enoexec('ELF segment reaches beyond the end of the file');
  return { gpa: sizeAt(header, 24), bytes: file.subarray(offset, offset + fileSize), memorySize };
}

/**
 * The physical address of e_entry, which is a virtual address. If a segment is loaded at another
 * address than it is linked for, the guest begins at the loaded code. ENOEXEC if no machine has
 * that address.
 */
function physicalEntry(entry: bigint, loads: readonly DataView[]): number {
  let physical = entry;
  for (const header of loads) {
    const vaddr = header.getBigUint64(16, true);
    const end = vaddr + header.getBigUint64(32, true);
    const isCode = (header.getUint32(4, true) & PF_X) !== 0;
    if (isCode && entry >= vaddr && entry < end) physical = entry - vaddr + header.getBigUint64(24, true);
  }
  if (physical >= 1n << 52n) throw enoexec(`ELF entry ${hex(physical)} is out of range`);
  return Number(physical);
}

/**
 * The segments, cut so that no byte is in two of them. Zeros that would run into another segment
 * are left to the guest: its linker meant memory to which the guest moves its data first. ENOEXEC
 * if even the bytes in the file overlap.
 */
function apart(segments: readonly ElfSegment[]): ElfSegment[] {
  const placed = segments.map((segment) => {
    const { gpa, bytes, memorySize } = segment;
    const zeros = { gpa: gpa + bytes.length, bytes, memorySize: memorySize - bytes.length };
    const cut = zeros.memorySize > 0 && segments.some((other) => other !== segment && overlap(zeros, other));
    return cut ? { gpa, bytes, memorySize: bytes.length } : segment;
  });
  const sorted = placed.filter(({ memorySize }) => memorySize > 0).sort((a, b) => a.gpa - b.gpa);
  sorted.forEach((segment, i) => {
    const next = sorted[i + 1];
    if (next && overlap(segment, next)) throw enoexec(`${nameOf(segment)} overlaps ${nameOf(next).slice(4)}`);
  });
  return sorted;
}

const overlap = (a: ElfSegment, b: ElfSegment): boolean => a.gpa < b.gpa + b.memorySize && b.gpa < a.gpa + a.memorySize;

/** One view per entry of a header table; undefined if it is not all there. */
function table(view: DataView, offset: bigint, count: number, entrySize: number): DataView[] | undefined {
  const whole = slice(view, Number(offset), count * entrySize);
  return whole && Array.from({ length: count }, (_, i) => slice(whole, i * entrySize, entrySize)!);
}

const contentsOf = (section: DataView, view: DataView): DataView | undefined =>
  slice(view, sizeAt(section, 24), sizeAt(section, 32));

function slice(view: DataView, offset: number, size: number): DataView | undefined {
  if (offset + size > view.byteLength) return undefined;
  return new DataView(view.buffer, view.byteOffset + offset, size);
}

function cString(view: DataView, offset: number): string {
  let text = '';
  for (let at = offset; at < view.byteLength && view.getUint8(at) !== 0; at++) {
    text += String.fromCharCode(view.getUint8(at));
  }
  return text;
}

/**
 * A 64-bit offset, address or size. Beyond 2^53 it is rounded: that is still beyond every file and
 * all RAM.
 */
const sizeAt = (view: DataView, at: number): number => Number(view.getBigUint64(at, true));
