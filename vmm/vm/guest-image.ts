/** The content of RAM when a guest starts: its ELF and the device tree. */
import { readFileSync } from 'node:fs';
import { checkElf, type ElfImage, loadElf, parseElf } from '../../guest/elf.ts';
import { enoexec, SysError } from '../../platform/errno.ts';
import { hex } from '../../platform/hex.ts';
import { deviceTree } from '../machine/device-tree.ts';
import { deviceTreeGpa } from '../machine/shared/boot-rom.ts';
import { RAM_BASE } from '../machine/shared/memory-map.ts';

/** Reads an ELF. It must fit into `ramSize` bytes beside the device tree. Errors name the file. */
export function readImage(path: string, ramSize: number): ElfImage {
  try {
    const image = parseElf(readFileSync(path));
    checkElf(image, ramSize, RAM_BASE);
    checkDeviceTree(image, ramSize);
    return image;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (error instanceof SysError) throw new SysError(error.code, `${path}: ${message}`);
    throw code === undefined ? error : new SysError(code, `${path}: cannot be read (${code})`);
  }
}

/** Refuses an ELF that overlaps the device tree, as QEMU does ("ROM regions are overlapping"). */
function checkDeviceTree({ segments }: ElfImage, ramSize: number): void {
  const start = deviceTreeGpa(ramSize);
  const end = start + deviceTree(ramSize).length;
  if (segments.every(({ gpa, memorySize }) => gpa + memorySize <= start || gpa >= end)) return;
  throw enoexec(`an ELF segment lies where the device tree does, at ${hex(start)}: more RAM (-m) moves it up`);
}

/** Puts image and device tree into RAM; the rest of RAM stays as it is. */
export function fillRam(image: ElfImage, ram: Uint8Array): void {
  loadElf(image, ram, RAM_BASE);
  ram.set(deviceTree(ram.length), deviceTreeGpa(ram.length) - RAM_BASE);
}
