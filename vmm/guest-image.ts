/** What lies in RAM when a guest starts: its ELF and the device tree. */
import { readFileSync } from 'node:fs';

import { type ElfImage, loadElf, parseElf } from '../guest/elf.ts';
import { SysError } from '../platform/errno.ts';
import { deviceTreeGpa } from './machine/boot-rom.ts';
import { deviceTree } from './machine/device-tree.ts';
import { RAM_BASE } from './machine/memory-map.ts';

/** Reads an ELF. Errors name the file. */
export function readImage(path: string): ElfImage {
  try {
    return parseElf(readFileSync(path));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (error instanceof SysError) throw new SysError(error.code, `${path}: ${message}`);
    throw code === undefined ? error : new SysError(code, `${path}: cannot be read (${code})`);
  }
}

/** Puts image and device tree into RAM; the rest of RAM stays as it is. ENOEXEC if they do not fit. */
export function fillRam(image: ElfImage, ram: Uint8Array): void {
  loadElf(image, ram, RAM_BASE);
  ram.set(deviceTree(ram.length), deviceTreeGpa(ram.length) - RAM_BASE);
}
