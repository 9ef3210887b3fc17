/**
 * A stock Linux for x86-64 in QEMU sees and uses a device that is passed to it. It fetches
 * packages, so it runs only if LIVEVMM_QEMU_X86_64 names a QEMU, in words, or LIVEVMM_TEST_LINUX is
 * set.
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { initramfs } from '../../../tools/debian/initramfs.ts';
import { type DebianX86, fetchDebianX86 } from '../../linux/debian-x86.ts';
import { Sandbox } from '../livevmm-process.ts';

const LIMIT_MS = 900_000;
const { LIVEVMM_QEMU_X86_64: named, LIVEVMM_TEST_LINUX: wanted } = process.env;
const QEMU = (named ?? 'qemu-system-x86_64').split(' ');
const isWanted = process.arch === 'x64' && (named ?? wanted) !== undefined;
const hasQemu = isWanted && spawnSync(QEMU[0]!, [...QEMU.slice(1), '--version']).status === 0;

const INIT = `#!/bin/busybox sh
export PATH=/bin
/bin/busybox mkdir /tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
cd /sys/bus/pci/devices/0000:00:05.0
ls driver
echo 1 >enable
/bin/ld-linux-x86-64.so.2 --library-path /lib /bin/lspci -vv -n -s 00:05
read bar rest <resource
echo "edu $(devmem $bar 32)"
devmem $((bar + 4)) 32 0x1234
echo "inverted $(devmem $((bar + 4)) 32)"
poweroff -f
`;

describe.runIf(hasQemu)('Debian in QEMU', () => {
  let sandbox: Sandbox;
  let debian: DebianX86 | string;
  beforeAll(() => {
    sandbox = new Sandbox();
    debian = fetchDebianX86(sandbox.dir);
    if (typeof debian === 'string') process.stderr.write(`no Linux to boot: ${debian}\n`);
  }, LIMIT_MS);
  afterAll(() => sandbox.remove());

  it('sees edu by lspci -vv, and its registers answer', {
    timeout: LIMIT_MS,
    retry: 1, // on a busy machine QEMU's serial line drops bytes that its reader takes late
  }, async ({ skip }) => {
    if (typeof debian === 'string') return skip();
    const { kernel, busybox, programs, libraries: files } = debian;
    const initrd = join(sandbox.dir, 'initrd');
    writeFileSync(initrd, initramfs({ busybox, init: INIT, files, programs }));
    const machine = [
      '-machine',
      'q35',
      '-m',
      '512M',
      '-display',
      'none',
      '-nodefaults',
      '-serial',
      'stdio',
      '-no-reboot',
    ];
    const guest = ['-kernel', kernel, '-initrd', initrd, '-append', 'console=ttyS0 quiet'];
    const { status, stdout } = await sandbox.run(
      ...['with', '--memlock', 'unlimited', '--device', 'edu,flr=on', '--', ...QEMU, ...machine, ...guest],
      ...['-device', 'vfio-pci,host=0000:00:02.0,addr=5'],
    );
    expect(status).toBe(0);
    expect(stdout).toMatch(/^00:05\.0 00ff: 1234:11e8 \(rev 10\)/m);
    expect(stdout).toMatch(/^\s+Region 0: Memory at [0-9a-f]+ \(32-bit, non-prefetchable\) \[size=1M\]/m);
    expect(stdout).toMatch(/^\s+Capabilities: .* MSI: Enable- Count=1\/1 Maskable- 64bit\+/m);
    expect(stdout).not.toContain('Kernel driver in use');
    expect(stdout).toMatch(/^edu 0x010000ED\r?$/m);
    expect(stdout).toMatch(/^inverted 0xFFFFEDCB\r?$/m);
  });
});
