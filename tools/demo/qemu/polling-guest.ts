/** The demo guest for a machine whose devices send no interrupts. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { guestPath } from '../../launch/programs.ts';

const SHT_SYMTAB = 2;
/** `c.li a0, 1` and `c.ret` */
const RETURN_TRUE = Uint8Array.of(0x05, 0x45, 0x82, 0x80);

/**
 * The demo guest without interrupts: its function that enables MSI only says that it has. It then
 * looks for frames with each tick of its timer. A QEMU without KVM cannot hand MSI on.
 */
export function pollingGuest(folder: string): string {
  const elf = readFileSync(guestPath('demo'));
  elf.set(RETURN_TRUE, fileOffsetOf(elf, 'pcie_enable_msi'));
  const path = join(folder, 'polling.elf');
  writeFileSync(path, elf);
  return path;
}

/** Where the first byte of a function lies in a 64-bit ELF. */
function fileOffsetOf(elf: Buffer, name: string): number {
  const u64 = (at: number): number => Number(elf.readBigUInt64LE(at));
  const headers = Array.from({ length: elf.readUInt16LE(60) }, (_, i) => u64(40) + i * elf.readUInt16LE(58));
  const symbols = headers.find((at) => elf.readUInt32LE(at + 4) === SHT_SYMTAB)!;
  const names = u64(headers[elf.readUInt32LE(symbols + 40)]! + 24);
  for (let at = u64(symbols + 24); at < u64(symbols + 24) + u64(symbols + 32); at += 24) {
    const start = names + elf.readUInt32LE(at);
    if (elf.toString('latin1', start, elf.indexOf(0, start)) !== name) continue;
    const section = headers[elf.readUInt16LE(at + 6)]!;
    return u64(at + 8) - u64(section + 16) + u64(section + 24);
  }
  throw new Error(`no symbol ${name}`);
}
