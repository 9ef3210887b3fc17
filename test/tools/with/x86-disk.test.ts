/**
 * A driver that is not ours on the board's virtio-blk: PC firmware (SeaBIOS) of a QEMU for x86-64
 * boots from the disk that is passed to it. LIVEVMM_QEMU_X86_64 names the QEMU, in words.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Sandbox } from '../livevmm-process.ts';

const QEMU = (process.env.LIVEVMM_QEMU_X86_64 ?? 'qemu-system-x86_64').split(' ');
const hasQemu = spawnSync(QEMU[0]!, [...QEMU.slice(1), '--version']).status === 0;

const SECTOR = 512;
const DISK_BYTES = 1 << 20;
const LINE = 'from the disk\n';
/** isa-debug-exit makes an exit status of what is written to its port. */
const EXIT_PORT = 0xf4;
const exitStatus = (written: number): number => (written << 1) | 1;

/**
 * The first sector, which firmware loads to 7c00 and starts with the disk's number in dl. Copies
 * the second sector to the third one, prints it up to the end of its line, and ends QEMU with what
 * the firmware says of the last copy (ah: 0 is no error).
 */
const BOOT_SECTOR = [
  ...[0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0], // ax = ds = es = 0
  ...[0xbb, 0x00, 0x7e, 0xb6, 0x00, 0xb9, 0x02, 0x00], // bx = 7e00, dh = 0, cx = 2
  ...[0xb8, 0x01, 0x02, 0xcd, 0x13], // int 13, ah = 2: reads sector cl to bx
  ...[0xb9, 0x03, 0x00, 0xb8, 0x01, 0x03, 0xcd, 0x13], // int 13, ah = 3: writes sector 3
  ...[0x88, 0xe7, 0xbe, 0x00, 0x7e], // bh = ah, si = 7e00
  ...[0xba, 0xfd, 0x03, 0xec, 0xa8, 0x20, 0x74, 0xfb], // next: until port 3fd has bit 5
  ...[0xac, 0xba, 0xf8, 0x03, 0xee], // port 3f8 = *si++
  ...[0x3c, 0x0a, 0x75, 0xef], // unless it was '\n': next
  ...[0x88, 0xf8, 0xe6, EXIT_PORT, 0xf4], // port f4 = bh; hlt
];

const MACHINE = ['-machine', 'q35', '-m', '64M', '-display', 'none', '-nodefaults', '-serial', 'stdio', '-no-reboot'];
const DEVICES = ['-device', `isa-debug-exit,iobase=${EXIT_PORT}`, '-device', 'vfio-pci,host=0000:00:02.0,rombar=0'];

describe.skipIf(!hasQemu)('a disk of the board in a PC (qemu-system-x86_64)', () => {
  let sandbox: Sandbox;
  let drive: string;
  const bootedFrom = (device: string) =>
    sandbox.run('with', '--memlock', 'unlimited', '--device', device, '--', ...QEMU, ...MACHINE, ...DEVICES);
  const third = (): string => readFileSync(drive).toString('latin1', 2 * SECTOR, 2 * SECTOR + LINE.length);

  beforeEach(() => {
    sandbox = new Sandbox();
    drive = join(sandbox.dir, 'disk');
    const disk = Buffer.alloc(DISK_BYTES);
    disk.set(BOOT_SECTOR);
    disk.set([0x55, 0xaa], SECTOR - 2);
    disk.write(LINE, SECTOR);
    writeFileSync(drive, disk);
  });
  afterEach(() => sandbox.remove());

  it('is booted from, read and written', async () => {
    const { status, stdout } = await bootedFrom(`virtio-blk,drive=${drive}`);
    expect([status, stdout, third()]).toEqual([exitStatus(0), LINE, LINE]);
  });

  it('refuses to be written when it is read only', async () => {
    const { status, stdout } = await bootedFrom(`virtio-blk,drive=${drive},readonly=on`);
    expect([status === exitStatus(0), stdout, third()]).toEqual([false, LINE, '\0'.repeat(LINE.length)]);
  });
});
