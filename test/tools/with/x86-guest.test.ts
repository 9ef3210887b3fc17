/**
 * A stock Linux for x86-64 in QEMU sees and uses a device that is passed to it. It fetches
 * packages, so it runs only if LIVEVMM_QEMU_X86_64 names a QEMU, in words, or LIVEVMM_TEST_LINUX is
 * set.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { initramfs } from '../../../tools/debian/initramfs.ts';
import { type DebianX86, fetchDebianX86 } from '../../linux/debian-x86.ts';
import { isOffered } from '../../offered.ts';
import { Sandbox } from '../livevmm-process.ts';
import { X86Machine } from './x86-machine.ts';

const LIMIT_MS = 900_000;
const { LIVEVMM_QEMU_X86_64: named, LIVEVMM_TEST_LINUX: wanted } = process.env;
const QEMU = (named ?? 'qemu-system-x86_64').split(' ');
const isWanted = process.arch === 'x64' && (named ?? wanted) !== undefined;
const hasQemu = isOffered(
  isWanted && spawnSync(QEMU[0]!, [...QEMU.slice(1), '--version']).status === 0,
  'Linux in QEMU on a PC: LIVEVMM_QEMU_X86_64 names the QEMU, in words',
);

const hasKvm = ((): boolean => {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
})();

/** How often QEMU replaces itself. */
const UPDATES = 3;
/** Edu's MSI is vector 80, which has no handler: Linux says so each time that it comes. */
const MSI = 'No irq handler for 0.80';

const START = `#!/bin/busybox sh
export PATH=/bin
/bin/busybox mkdir /tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
cd /sys/bus/pci/devices/0000:00:05.0
read bar rest <resource
config() { printf "$2" | dd of=config bs=1 seek=$(($1)) conv=notrunc 2>/dev/null; }
enable_msi() {
  config 4 '\\6'
  config 0x44 '\\0\\0\\340\\376\\0\\0\\0\\0\\120\\0'
  config 0x42 '\\1'
}
raise() { devmem $((bar + 0x60)) 32 1; devmem $((bar + 0x64)) 32 1; }
`;
const LOOKS = `${START}ls driver
echo 1 >enable
/bin/ld-linux-x86-64.so.2 --library-path /lib /bin/lspci -vv -n -s 00:05
echo "edu $(devmem $bar 32)"
devmem $((bar + 4)) 32 0x1234
echo "inverted $(devmem $((bar + 4)) 32)"
enable_msi
raise
sleep 1
poweroff -f
`;
const OBEYS = `${START}echo ready
while read word; do
  $word
  echo "done $word"
done
`;

describe.runIf(hasQemu)('Debian in QEMU', () => {
  let sandbox: Sandbox;
  let debian: DebianX86 | string;
  beforeAll(() => {
    sandbox = new Sandbox();
    debian = fetchDebianX86(sandbox.dir);
    if (typeof debian === 'string') process.stderr.write(`no Linux to boot: ${debian}\n`);
  }, LIMIT_MS);
  let machine: X86Machine | undefined;
  afterEach(async () => {
    await machine?.stop();
    machine = undefined;
  });
  afterAll(() => sandbox.remove());

  function bootFiles({ busybox, programs, libraries: files }: DebianX86, init: string): string {
    const initrd = join(sandbox.dir, 'initrd');
    writeFileSync(initrd, initramfs({ busybox, init, files, programs }));
    return initrd;
  }

  it('sees edu by lspci -vv, and its registers answer', {
    timeout: LIMIT_MS,
    retry: 1, // on a busy machine QEMU's serial line drops bytes that its reader takes late
  }, async ({ skip }) => {
    if (typeof debian === 'string') return skip();
    const { kernel } = debian;
    const initrd = bootFiles(debian, LOOKS);
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
    expect(stdout).toContain(MSI);
  });

  if (!hasKvm) process.stderr.write('MSI over cpr-exec is skipped: /dev/kvm is missing, or closed to this user\n');
  it.skipIf(!hasKvm)(
    'gets the MSI of edu after each update by cpr-exec (/dev/kvm, QEMU of 10.2 or later)',
    {
      timeout: LIMIT_MS,
    },
    async ({ skip }) => {
      if (typeof debian === 'string') return skip();
      const { kernel } = debian;
      machine = new X86Machine({ folder: sandbox.dir, qemu: QEMU, kernel, initrd: bootFiles(debian, OBEYS) });
      await machine.hears('ready');
      await machine.say('enable_msi');
      await machine.say('raise', MSI);
      for (let i = 0; i < UPDATES; i++) {
        await machine.update();
        await machine.say('raise', MSI);
      }
    },
  );
});
