/**
 * The content of RAM when a guest starts: firmware, kernel, initial RAM disk and device tree, where
 * QEMU's `virt` puts them (docs/machine.md, "Boot").
 */
import { fileURLToPath } from 'node:url';

import { checkElf, type ElfImage, type ElfSegment, loadElf } from '../../guest/elf.ts';
import { enoexec } from '../../platform/errno.ts';
import { hex } from '../../platform/hex.ts';
import { derivedBytes, fillRandom } from '../../platform/random.ts';
import { readRegularFile } from '../../platform/regular-file.ts';
import { deviceTree, type TreeOptions } from '../machine/device-tree.ts';
import { deviceTreeGpa } from '../machine/shared/boot-rom.ts';
import { RAM_BASE } from '../machine/shared/memory-map.ts';
import type { Aia } from '../machine/shared/wired-devices.ts';
import { naming, readFirmware, readKernel } from './kernel-file.ts';
import { hartsOf, type VmOptions } from './vm-state.ts';

const TWO_MIB = 0x20_0000;
const RNG_SEED_WORDS = 8;

const fromSource = import.meta.url.endsWith('.ts');
/** Our own firmware. */
const SBI = new URL(fromSource ? '../../guest/firmware/sbi.elf' : '../guest/firmware/sbi.elf', import.meta.url);
/** RAM that it keeps for itself, and does not let S mode touch (guest/firmware/sbi.c). */
const SBI_MEMORY = { base: RAM_BASE, size: 0x4_0000 };

export interface GuestImage {
  /** The address that the boot ROM jumps to. */
  readonly entry: number;
  /** The address that firmware goes on at; undefined without firmware. */
  readonly next: number | undefined;
  readonly aia: Aia;
  readonly segments: readonly ElfSegment[];
  readonly tree: TreeOptions;
}

/**
 * Reads the files that the options name. They must fit into RAM, apart from each other and from the
 * device tree. ENOEXEC and errors of reading name the file.
 */
export function readGuest(options: VmOptions): GuestImage {
  const kernel = options.kernel === undefined ? NOTHING : readKernel(options.kernel);
  if (options.kernel !== undefined) naming(options.kernel, () => checkElf(kernel, options.memory, RAM_BASE));
  const bios = options.bios ?? (startOf(kernel) === RAM_BASE ? 'none' : 'default');
  const firmware = bios === 'none' ? undefined : readFirmware(bios === 'default' ? fileURLToPath(SBI) : bios);
  const aia = options.aia ?? (firmware ? 'none' : 'aplic-imsic');
  const initrd = options.initrd === undefined ? undefined : readInitrd(options.initrd, kernel);
  const tree: TreeOptions = {
    ramSize: options.memory,
    harts: hartsOf(options),
    aia,
    aplic: options.aplic === 'on',
    iommu: options.iommuSys === 'on',
    bootargs: options.append,
    initrd: initrd && { start: initrd.gpa, end: initrd.gpa + initrd.memorySize },
    firmware: bios === 'default' ? SBI_MEMORY : undefined,
    ...(firmware ? { rngSeed: rngSeed(options) } : {}),
  };
  const parts = [
    ...(firmware ? [{ path: bios, segments: firmware.segments }] : []),
    { path: options.kernel ?? '', segments: kernel.segments },
    ...(initrd ? [{ path: options.initrd!, segments: [initrd] }] : []),
  ];
  checkApart(parts, options.memory, deviceTree(tree).length);
  return {
    entry: firmware?.entry ?? kernel.entry,
    next: firmware && kernel.entry,
    aia,
    segments: parts.flatMap(({ segments }) => segments),
    tree,
  };
}

/** Where time is counted by instructions, a run is to be the same again: the seed is fixed. */
function rngSeed({ icount }: VmOptions): number[] {
  const words = new Uint32Array(RNG_SEED_WORDS);
  if (icount === undefined) return Array.from(fillRandom(words));
  new Uint8Array(words.buffer).set(derivedBytes('rng-seed', words.byteLength));
  return Array.from(words);
}

/** Puts everything into RAM; the rest of RAM stays as it is. `isZero` as in loadElf. */
export function fillRam(
  { entry, segments, tree }: Pick<GuestImage, 'entry' | 'segments' | 'tree'>,
  ram: Uint8Array,
  how: { readonly isZero?: boolean } = {},
): void {
  loadElf({ entry, segments }, ram, RAM_BASE, how);
  ram.set(deviceTree(tree), deviceTreeGpa(ram.length) - RAM_BASE);
}

/** No kernel: firmware that looks for one to go on at gets address 0, as from QEMU. */
const NOTHING: ElfImage = { entry: 0, segments: [] };

const startOf = ({ segments }: ElfImage): number => Math.min(...segments.map(({ gpa }) => gpa));
const endOf = ({ segments }: ElfImage): number => Math.max(...segments.map(({ gpa, memorySize }) => gpa + memorySize));

/** The RAM disk begins at the next 2 MiB boundary after the kernel. */
function readInitrd(path: string, kernel: ElfImage): ElfSegment {
  const bytes = naming(path, () => readRegularFile(path));
  const gpa = Math.ceil(endOf(kernel) / TWO_MIB) * TWO_MIB;
  return { gpa, bytes, memorySize: bytes.length };
}

interface Part {
  readonly path: string;
  readonly segments: readonly ElfSegment[];
}

/** Refuses what would overlap, as QEMU does ("ROM regions are overlapping"). */
function checkApart(parts: readonly Part[], ramSize: number, treeSize: number): void {
  const tree = deviceTreeGpa(ramSize);
  const taken: { readonly what: string; readonly start: number; readonly end: number }[] = [
    { what: 'the device tree', start: tree, end: tree + treeSize },
  ];
  for (const { path, segments } of parts) {
    for (const { gpa, memorySize } of segments) {
      const end = gpa + memorySize;
      if (end > RAM_BASE + ramSize)
        throw enoexec(`${path}: it ends at ${hex(end)}, outside of RAM: give more RAM (-m)`);
      const other = taken.find(({ start, end: last }) => gpa < last && end > start);
      if (!other) continue;
      const hint = other.what === 'the device tree' ? ': more RAM (-m) moves it up' : '';
      throw enoexec(`${path}: it lies where ${other.what} does, at ${hex(Math.max(gpa, other.start))}${hint}`);
    }
    for (const { gpa, memorySize } of segments) taken.push({ what: path, start: gpa, end: gpa + memorySize });
  }
}
