/**
 * Debian's U-Boot (package `u-boot-qemu`): in M mode as the firmware, or in S mode on ours. It
 * reads the guest's disk before updates of the VMM and after them, and powers off.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';

import { isOffered } from '../offered.ts';
import { updateEnded, VmmProcess, type VmmSetting } from './vmm-process.ts';

const FIRMWARE = '/usr/lib/u-boot/qemu-riscv64/u-boot.bin';
const KERNEL = '/usr/lib/u-boot/qemu-riscv64_smode/uboot.elf';
const BLOCK = 512;
const MODES = ['exec', 'transfer'] as const;
/** Where in RAM it reads to. */
const BUFFER = '82000000';
const TIMEOUT_MS = 60_000;

const WAYS: readonly (readonly [string, VmmSetting, readonly string[]])[] = [
  ['M mode, as the firmware', {}, ['--bios', FIRMWARE]],
  ['S mode, on our firmware', { guest: KERNEL }, []],
];

const isThere = isOffered(existsSync(FIRMWARE) && existsSync(KERNEL), "U-Boot: Debian's package u-boot-qemu");

describe.runIf(isThere)("Debian's U-Boot", () => {
  it.each(WAYS)('reads its disk over updates in %s', async (_, setting, words) => {
    const folder = mkdtempSync(join(tmpdir(), 'livevmm-u-boot-'));
    const disk = join(folder, 'disk');
    const blocks = [...MODES, 'last'].map((name) => Buffer.alloc(BLOCK, name));
    writeFileSync(disk, Buffer.concat(blocks));
    const vmm = new VmmProcess(setting, ...words, '--drive', `file=${disk}`);
    /** U-Boot reads a block, and says its checksum. */
    const reads = async (block: number): Promise<void> => {
      vmm.child.stdin.write(`virtio scan; virtio read ${BUFFER} ${block} 1; crc32 ${BUFFER} ${BLOCK.toString(16)}\n`);
      await vmm.prints(new RegExp(`==> ${crc32(blocks[block]!).toString(16).padStart(8, '0')}\\s`));
    };
    try {
      await vmm.prints(/stop autoboot/);
      vmm.child.stdin.write('\n');
      await vmm.prints(/=> /);
      const monitor = await vmm.monitor();
      for (const [block, mode] of MODES.entries()) {
        await reads(block);
        const ended = monitor.nextEvent(updateEnded, TIMEOUT_MS);
        await monitor.execute('live-update', { mode, probation: 0 });
        expect((await ended).data).toMatchObject({ status: 'completed' });
      }
      await reads(MODES.length);
      monitor.close();
      vmm.child.stdin.write('poweroff\n');
      expect(await vmm.exited).toEqual([0, null]);
    } finally {
      expect(await vmm.end()).toEqual([]);
      rmSync(folder, { recursive: true });
    }
  });
});
