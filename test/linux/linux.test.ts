/**
 * A stock Linux boots, uses its disk and powers off, with exec updates all the time. It takes
 * minutes on the interpreter, so it runs only if LIVEVMM_TEST_LINUX is set.
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Child } from '../../tools/launch/child.ts';
import { Sandbox } from '../tools/livevmm-process.ts';
import { type Debian, fetchDebian } from './debian.ts';
import { initramfs } from './initramfs.ts';

const OPENSBI = '/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.elf';
const LIMIT_MS = 900_000;
const DISK_BYTES = 4 << 20;
const WRITTEN = 'written by the guest\n';
const AT_SECTOR = 100;

const INIT = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
export PATH=/bin
insmod /lib/virtio_blk.ko
cat /sys/bus/pci/devices/*/device
echo "processors $(grep -c ^processor /proc/cpuinfo)"
echo "md5 $(md5sum /dev/vda)"
echo "${WRITTEN.trimEnd()}" | dd of=/dev/vda bs=512 seek=${AT_SECTOR} conv=notrunc,sync,fsync
echo ready
read line
echo "typed $line"
poweroff -f
`;

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

describe.runIf(process.env.LIVEVMM_TEST_LINUX)('Debian on the virt machine', () => {
  let sandbox: Sandbox;
  let debian: Debian | string;
  beforeAll(() => {
    sandbox = new Sandbox();
    debian = fetchDebian(sandbox.dir);
    if (typeof debian === 'string') process.stderr.write(`no Linux to boot: ${debian}\n`);
  }, LIMIT_MS);
  const children: Child[] = [];
  afterAll(async () => {
    for (const child of children) await child.stop();
    sandbox.remove();
  });

  /** The words of `livevmm run`, and the content of the disk. */
  function prepare({ kernel, busybox, modules }: Debian): { words: string[]; disk: string; content: Uint8Array } {
    const initrd = join(sandbox.dir, 'initrd');
    writeFileSync(initrd, initramfs({ busybox, init: INIT, files: modules }));
    const disk = join(sandbox.dir, 'disk');
    const content = randomBytes(DISK_BYTES);
    writeFileSync(disk, content);
    const guest = ['-kernel', kernel, '-initrd', initrd, '-append', 'console=ttyS0 quiet'];
    return { words: ['run', '-m', '512M', ...guest, '-drive', `file=${disk}`], disk, content };
  }

  /** Types a line when the guest is ready; what it has printed when it has ended. */
  async function session(child: Child): Promise<{ printed: string; status: number | null }> {
    children.push(child);
    let printed = '';
    child.stdout.on('data', (chunk) => {
      const wasReady = printed.includes('ready');
      printed += chunk;
      if (!wasReady && printed.includes('ready')) child.stdin.write('hello\n');
    });
    const { status } = await child.closed;
    return { printed, status };
  }

  it(
    'boots on our firmware on two harts, reads and writes its disk, hears a line and powers off, updated again and again',
    async ({ skip }) => {
      if (typeof debian === 'string') return skip();
      const { words, disk, content } = prepare(debian);
      const qmp = join(sandbox.runtimeDir, 'q');
      const child = sandbox.start(...words, '-smp', '2', '--qmp', qmp);
      const ended = session(child);
      let updates = 0;
      let isOver = false;
      void ended.then(() => {
        isOver = true;
      });
      while (!isOver) {
        const { status } = await sandbox.run('update', '--qmp', qmp);
        if (status === 0) updates++;
      }
      const { printed, status } = await ended;
      expect(status).toBe(0);
      expect(printed).toContain(`md5 ${md5(content)}`);
      expect(printed).toContain('processors 2');
      expect(printed).toContain('typed hello');
      expect(printed).toContain('0x1042');
      expect(
        readFileSync(disk)
          .subarray(512 * AT_SECTOR, 512 * AT_SECTOR + WRITTEN.length)
          .toString(),
      ).toBe(WRITTEN);
      expect(updates).toBeGreaterThan(5);
    },
    LIMIT_MS,
  );

  it.runIf(existsSync(OPENSBI))(
    'boots on OpenSBI and powers off',
    async ({ skip }) => {
      if (typeof debian === 'string') return skip();
      const { words, content } = prepare(debian);
      const { printed, status } = await session(sandbox.start(...words, '-bios', OPENSBI));
      expect(status).toBe(0);
      expect(printed).toMatch(/^OpenSBI v/m);
      expect(printed).toContain(`md5 ${md5(content)}`);
    },
    LIMIT_MS,
  );
});
