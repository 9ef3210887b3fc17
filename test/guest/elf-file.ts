/** Executables that tests make up: each field of a program header can be given, and symbols. */

const EHDR = 64;
const PHDR = 56;
const SHDR = 64;
const SYM = 24;
const PF_X = 1;
const PF_RW = 6;
const PT_LOAD = 1;

export interface Load {
  readonly paddr: number | bigint;
  /** What lies in the file; nothing if not given. */
  readonly bytes?: ArrayLike<number>;
  /** As long as the bytes if not given. */
  readonly memorySize?: number | bigint;
  /** Where the bytes lie if not given. */
  readonly offset?: number | bigint;
  readonly fileSize?: number | bigint;
  /** As paddr if not given. */
  readonly vaddr?: number | bigint;
  /** All if not given. */
  readonly flags?: number;
}

export interface ElfFile {
  readonly entry: number | bigint;
  readonly loads: readonly Load[];
  readonly symbols?: Readonly<Record<string, bigint>>;
}

/** An ELF64 little-endian RISC-V executable. */
export function elfFile({ entry, loads, symbols }: ElfFile): Uint8Array {
  const contents = loads.map(({ bytes = [] }) => Uint8Array.from(bytes));
  const contentsAt = EHDR + PHDR * loads.length;
  const sections = symbols ? symbolSections(symbols, contentsAt + totalOf(contents)) : undefined;
  const file = new Uint8Array(contentsAt + totalOf(contents) + (sections?.bytes.length ?? 0));
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true); // e_type ET_EXEC
  view.setUint16(18, 243, true); // e_machine EM_RISCV
  view.setUint32(20, 1, true); // e_version
  view.setBigUint64(24, BigInt(entry), true); // e_entry
  view.setBigUint64(32, BigInt(EHDR), true); // e_phoff
  view.setUint16(52, EHDR, true); // e_ehsize
  view.setUint16(54, PHDR, true); // e_phentsize
  view.setUint16(56, loads.length, true); // e_phnum
  let at = contentsAt;
  loads.forEach((load, i) => {
    const bytes = contents[i]!;
    const { paddr, vaddr = paddr, flags = PF_X | PF_RW, offset = at } = load;
    const { fileSize = bytes.length, memorySize = bytes.length } = load;
    const header = EHDR + i * PHDR;
    view.setUint32(header, PT_LOAD, true);
    view.setUint32(header + 4, flags, true);
    [offset, vaddr, paddr, fileSize, memorySize].forEach((value, field) => {
      view.setBigUint64(header + 8 + 8 * field, BigInt(value), true);
    });
    file.set(bytes, at);
    at += bytes.length;
  });
  if (sections) {
    file.set(sections.bytes, at);
    view.setBigUint64(40, BigInt(sections.tableAt), true); // e_shoff
    view.setUint16(58, SHDR, true); // e_shentsize
    view.setUint16(60, 3, true); // e_shnum
  }
  return file;
}

const totalOf = (parts: readonly Uint8Array[]): number => parts.reduce((sum, { length }) => sum + length, 0);

/** A symbol table, its strings and the table of the sections, for a place in the file. */
function symbolSections(symbols: Readonly<Record<string, bigint>>, at: number): { bytes: Uint8Array; tableAt: number } {
  const names = Object.keys(symbols);
  const strings = new TextEncoder().encode(`\0${names.map((name) => `${name}\0`).join('')}`);
  const symbolBytes = SYM * names.length;
  const bytes = new Uint8Array(symbolBytes + strings.length + 3 * SHDR);
  const view = new DataView(bytes.buffer);
  let nameAt = 1;
  names.forEach((name, i) => {
    view.setUint32(i * SYM, nameAt, true);
    view.setBigUint64(i * SYM + 8, symbols[name]!, true);
    nameAt += name.length + 1;
  });
  bytes.set(strings, symbolBytes);
  const table = symbolBytes + strings.length;
  const section = (index: number, type: number, [start, size]: readonly [number, number], link = 0): void => {
    const header = table + index * SHDR;
    view.setUint32(header + 4, type, true);
    view.setBigUint64(header + 24, BigInt(start), true);
    view.setBigUint64(header + 32, BigInt(size), true);
    view.setUint32(header + 40, link, true);
  };
  section(1, 2, [at, symbolBytes], 2); // SHT_SYMTAB
  section(2, 3, [at + symbolBytes, strings.length]); // SHT_STRTAB
  return { bytes, tableAt: at + table };
}
