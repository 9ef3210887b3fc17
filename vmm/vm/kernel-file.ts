/**
 * The files that a guest begins with: firmware and kernel, as QEMU's -bios and -kernel take them.
 * What is read is a list of segments of RAM.
 */
import { gunzipSync } from 'node:zlib';

import { type ElfImage, parseElf } from '../../guest/elf.ts';
import { enoexec, SysError } from '../../platform/errno.ts';
import { isGzip } from '../../platform/gzip.ts';
import { readRegularFile } from '../../platform/regular-file.ts';
import { RAM_BASE } from '../machine/shared/memory-map.ts';

// Linux, Documentation/arch/riscv/boot-image-header.rst
const IMAGE_MAGIC2 = 0x0543_5352; // "RSC\x05", at byte 56
const IMAGE_TEXT_OFFSET = 8;
const IMAGE_SIZE = 16;
const IMAGE_MAGIC2_AT = 56;
const IMAGE_HEADER = 64;

const isElf = (file: Uint8Array): boolean => file[0] === 0x7f && file[1] === 0x45;

/** Linux's Image: it is loaded as it is, at the offset in RAM that its header says. */
function parseImage(file: Uint8Array): ElfImage | undefined {
  if (file.length < IMAGE_HEADER) return undefined;
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (view.getUint32(IMAGE_MAGIC2_AT, true) !== IMAGE_MAGIC2) return undefined;
  const gpa = RAM_BASE + Number(view.getBigUint64(IMAGE_TEXT_OFFSET, true));
  const memorySize = Math.max(file.length, Number(view.getBigUint64(IMAGE_SIZE, true)));
  return { entry: gpa, segments: [{ gpa, bytes: file, memorySize }] };
}

/** A kernel: ELF, Image, or one of them in gzip. ENOEXEC and errors of reading name the file. */
export const readKernel = (path: string): ElfImage =>
  naming(path, () => {
    const file = readRegularFile(path);
    const kernel = isGzip(file) ? gunzip(file) : file;
    if (isElf(kernel)) return parseElf(kernel);
    const image = parseImage(kernel);
    if (!image) throw enoexec('not an ELF64 little-endian RISC-V executable, and no Image of Linux');
    return image;
  });

/** Firmware: an ELF, or bytes for the beginning of RAM. */
export const readFirmware = (path: string): ElfImage =>
  naming(path, () => {
    const file = readRegularFile(path);
    if (isElf(file)) return parseElf(file);
    if (file.length === 0) throw enoexec('it is empty');
    return { entry: RAM_BASE, segments: [{ gpa: RAM_BASE, bytes: file, memorySize: file.length }] };
  });

function gunzip(file: Uint8Array): Uint8Array {
  try {
    return gunzipSync(file);
  } catch (error) {
    throw enoexec(`not to be unpacked (${(error as Error).message})`);
  }
}

/** Runs `work`, which reads `path`; its errors name the file in one line. */
export function naming<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (error instanceof SysError) throw new SysError(error.code, `${path}: ${message}`);
    throw code === undefined ? error : new SysError(code, `${path}: cannot be read (${code})`);
  }
}
