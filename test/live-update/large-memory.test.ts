import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { HostProcess } from '../../tools/launch/host.ts';
import { elfFile } from '../guest/elf-file.ts';
import { listing } from '../guest/riscv/fixture.ts';
import { updateEnded, VmmProcess } from '../vmm/vmm-process.ts';

/** Updates of VMMs whose guest lives at the very end of RAM of any size, the largest included. */

const RAM_BASE = 0x8000_0000;
const MIB = 2 ** 20;
const TIMEOUT_MS = 90_000;
/** How far from the end of RAM the guest's code lies; the device tree is 2 MiB from it. */
const FROM_END = 0x1_0000;
const COUNTER = 0x100;
/**
 * Of code, device tree and whatever the kernel adds: nobody may have read all of RAM, as reading
 * makes pages.
 */
const MOST_BYTES = 4 * MIB;

/** Counts in memory as fast as it can; a dot at each 65536th. */
const PROGRAM = `
  100005b7  lui a1, 0x10000
  00000617  auipc a2, 0
  10062683  lw a3, 0x100(a2)
  00168693  addi a3, a3, 1
  10d62023  sw a3, 0x100(a2)
  03069293  slli t0, a3, 48
  fe0298e3  bnez t0, . - 16
  02e00513  li a0, 46
  00a58023  sb a0, 0(a1)
  fe5ff06f  j . - 28`;

let dir: string;
let vmm: VmmProcess;
let host: HostProcess | undefined;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'livevmm-ram-'));
});
afterEach(async () => {
  expect(await vmm.end()).toEqual([]);
  await host?.stop();
  host = undefined;
  rmSync(dir, { recursive: true });
});

function startAtEnd(sizeMib: number, ...args: string[]): VmmProcess {
  const paddr = RAM_BASE + sizeMib * MIB - FROM_END;
  const kernel = join(dir, 'guest.elf');
  writeFileSync(kernel, elfFile({ entry: paddr, loads: [{ paddr, bytes: listing(PROGRAM), memorySize: 0x1000 }] }));
  return new VmmProcess(kernel, '-m', `${sizeMib}M`, ...args);
}

/** Path of the VMM's fd for guest RAM. */
function ramPath(): string {
  const folder = `/proc/${vmm.pid}/fd`;
  const fd = readdirSync(folder).find((name) => readlinkSync(join(folder, name)).includes('memfd:guest-ram'));
  return join(folder, fd!);
}

/**
 * The guest's counter, as its memory object has it. The code's second instruction is what it counts
 * from.
 */
function counter(sizeMib: number): number {
  const fd = openSync(ramPath(), 'r');
  const word = Buffer.alloc(4);
  readSync(fd, word, 0, 4, sizeMib * MIB - FROM_END + 4 + COUNTER);
  closeSync(fd);
  return word.readUInt32LE();
}

async function update(): Promise<Record<string, unknown>> {
  const qmp = await vmm.monitor();
  const ended = qmp.nextEvent(updateEnded, TIMEOUT_MS);
  await Promise.all([qmp.execute('live-update'), ended]);
  await qmp.execute('query-status');
  qmp.close();
  return (await ended).data;
}

async function expectToSurvive(sizeMib: number): Promise<void> {
  await vmm.prints(/\./);
  expect(await update()).toMatchObject({ status: 'completed', generation: 1 });
  const after = counter(sizeMib);
  expect(after).toBeGreaterThanOrEqual(65536);
  await vi.waitUntil(() => counter(sizeMib) > after);
  expect(statSync(ramPath()).blocks * 512).toBeLessThan(MOST_BYTES);
}

describe('an exec update of a guest that lives at the end of its RAM', () => {
  it.each([64, 2048, 3072, 4096])('of %i MiB', async (sizeMib) => {
    vmm = startAtEnd(sizeMib);
    await expectToSurvive(sizeMib);
  });

  it.each([
    [2030, 'below the MSI window', []],
    [4096, 'where MSIs have no window of their own', ['--iommu', 'iommu0,msi=translated']],
    [4096, 'where the VMM donates a window for MSIs (RSV-5)', ['--iommu', 'iommu0,msi=donated']],
  ])('of %i MiB, with a device, %s', async (sizeMib, _, hostOptions) => {
    host = await HostProcess.start(['edu'], hostOptions);
    vmm = startAtEnd(sizeMib, '--host', host.socket, '--device', `vfio-pci,host=${host.devices[0]!.bdf}`);
    await expectToSurvive(sizeMib);
  });
});

describe('what does not fit', () => {
  const refused = async (kernel: Uint8Array, ...args: string[]): Promise<string> => {
    const path = join(dir, 'guest.elf');
    writeFileSync(path, kernel);
    vmm = new VmmProcess(path, ...args);
    expect(await vmm.exited).toEqual([1, null]);
    return vmm.errors.replace(path, 'guest.elf');
  };
  const imageAt = (paddr: number): Uint8Array =>
    elfFile({ entry: paddr, loads: [{ paddr, bytes: [0], memorySize: 8 }] });

  it.each(['4097M', '5G', '1000000G'])('more than 4 GiB of RAM is refused in one line: -m %s', async (size) => {
    expect(await refused(imageAt(RAM_BASE), '-m', size)).toBe(`vmm: -m ${size}: give a size from 4M to 4G, e.g. 64M\n`);
  });

  it.each([
    ['below RAM', 0, 'ELF segment 0x0+0x8 is outside of RAM'],
    ['beyond 4 GiB of RAM', RAM_BASE + 2 ** 32 - 4, 'ELF segment 0x17ffffffc+0x8 is outside of RAM'],
    [
      'where the device tree lies',
      RAM_BASE + 2 ** 32 - 0x20_0000,
      'it lies where the device tree does, at 0x17fe00000: more RAM (-m) moves it up',
    ],
  ])('a segment %s is refused in one line', async (_, paddr, line) => {
    expect(await refused(imageAt(paddr), '-m', '4G')).toBe(`vmm: guest.elf: ${line}\n`);
  });
});
