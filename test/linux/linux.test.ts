/**
 * A stock Linux boots, lists its PCI devices, checks a tree of files on a disk of the host's, which
 * is passed through, and on one of its VMM's, writes it back, pings another guest and powers off,
 * while its VMM is replaced every second. LIVEVMM_DEBIAN=FOLDER keeps its packages there;
 * LIVEVMM_TEST_LINUX=1 boots it in all ways.
 */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { untilListening } from '../../platform/unix-listener.ts';
import { INIT_BEGINS, initramfs, QUIET_CONSOLE } from '../../tools/debian/initramfs.ts';
import type { DebianLinux } from '../../tools/debian/linux.ts';
import { HostProcess } from '../../tools/launch/host.ts';
import { Sandbox } from '../tools/livevmm-process.ts';
import { VmmProcess } from '../vmm/vmm-process.ts';
import { isWanted, isWantedWhole, linuxFor } from './debian.ts';
import { keepUpdating, UPDATE_MS } from './keep-updating.ts';

const OPENSBI = '/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.elf';
const LIMIT_MS = 900_000;
const FILES = 200;
const DISK_BYTES = 32 << 20;
/** Where the guest writes its own archive. */
const SECOND_HALF = DISK_BYTES / 2;
const PINGS = 20;
/** Serial number of the host's disk, and how often it is read as a whole. */
const PASSED = 'passed-through';
const ROUNDS = 5;

const INIT = `${INIT_BEGINS}
for module in $(cat /lib/order); do insmod /lib/$module; done
echo "processors $(grep -c ^processor /proc/cpuinfo)"
echo "pci $(cat /sys/bus/pci/devices/*/device | tr '\\n' ' ')"
passed=$(grep -l ${PASSED} /sys/block/vd*/serial | cut -d/ -f4)
own=$(ls /sys/block | grep '^vd' | grep -v $passed)
mkdir /host && cd /host && tar xf /dev/$passed
echo "host's files $(md5sum -c sums | grep -c OK) of $(wc -l < sums)"
for round in $(seq ${ROUNDS}); do echo 1 > /proc/sys/vm/drop_caches; md5sum < /dev/$passed; done | sort | uniq -c
mkdir /tree && cd /tree && tar xf /dev/$own
echo "files $(md5sum -c sums | grep -c OK) of $(wc -l < sums)"
mkdir /share && mount -t 9p -o trans=virtio,version=9p2000.L,ro share /share
for round in 1 2 3 4 5; do
  echo "share $(cd /share && md5sum -c sums | grep -c OK) of $(wc -l < /share/sums)"
done
echo x > /share/new || ls /share/new
tar cf - . | dd of=/dev/$own bs=64k seek=${SECOND_HALF / 65536} conv=notrunc,fsync 2>/dev/null
ip addr add 10.0.2.1/24 dev eth0 && ip link set eth0 up
ping -q -c ${PINGS} -i 0.2 -s 1000 10.0.2.2
dd if=/dev/hwrng of=/dev/null bs=64 count=16 2>/dev/null && echo "random bytes"
exec 3<>/dev/hvc0
echo question >&3
read answer <&3
echo "heard $answer"
echo ready
read line
echo "typed $line"
grep -E 'ttyS0|virtio' /proc/interrupts
poweroff -f
`;

/** Who tells Linux of interrupts: of the UART, and of the disk. */
const CONTROLLERS = {
  none: [/ SiFive PLIC +10 Edge +ttyS0$/m, / SiFive PLIC +\d+ Edge +virtio\d/m],
  'aplic-imsic': [/ APLIC-MSI-\S+ +10 Level .*ttyS0$/m, / PCI-MSIX-\S+ +1 Edge +virtio\d+-req/m],
} as const;

const WAYS = [
  { name: 'our firmware on two harts', bios: 'default', harts: 2, aia: 'aplic-imsic', banner: /^/ },
  { name: 'our firmware on two harts', bios: 'default', harts: 2, aia: 'none', banner: /^/ },
  { name: 'OpenSBI', bios: OPENSBI, harts: 1, aia: 'aplic-imsic', banner: /^OpenSBI v/m },
  { name: 'OpenSBI', bios: OPENSBI, harts: 1, aia: 'none', banner: /^OpenSBI v/m },
] as const;

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

describe.runIf(isWanted)('Debian on the virt machine', () => {
  let sandbox: Sandbox;
  let debian: DebianLinux | undefined;
  let sums: string;
  beforeAll(() => {
    sandbox = new Sandbox();
    debian = linuxFor(sandbox.dir);
    if (debian) sums = prepare(debian);
  }, LIMIT_MS);
  const children: VmmProcess[] = [];
  const hosts: HostProcess[] = [];
  afterAll(async () => {
    for (const child of children) await child.end();
    for (const host of hosts) await host.stop();
    sandbox.remove();
  });

  const at = (name: string): string => join(sandbox.dir, name);

  /** Makes the initial RAM disk and the archive for the disk; returns the files' sums. */
  function prepare({ busybox, modules }: DebianLinux): string {
    const files = new Map([...modules, ['order', Buffer.from([...modules.keys()].join('\n'))]]);
    writeFileSync(at('initrd'), initramfs({ busybox, init: INIT, files }));
    mkdirSync(at('tree'));
    const lines = Array.from({ length: FILES }, (_, i) => {
      const content = randomBytes(i * 300);
      writeFileSync(at(`tree/${i}`), content);
      return `${md5(content)}  ${i}\n`;
    });
    writeFileSync(at('tree/sums'), lines.join(''));
    execFileSync('tar', ['cf', at('archive'), '-C', at('tree'), '.']);
    return lines.join('');
  }

  const wire = (from: string, to: string): string => `dgram,id=n,local.path=${at(from)},remote.path=${at(to)}`;

  function start(guest: string, ...words: readonly string[]): VmmProcess {
    const vmm = new VmmProcess(guest, ...words);
    children.push(vmm);
    return vmm;
  }

  it.for(isWantedWhole ? WAYS : WAYS.slice(0, 1))(
    'boots on $name with aia=$aia and does its work, replaced every second',
    { timeout: LIMIT_MS },
    async ({ bios, harts, aia, banner }, { skip }) => {
      if (!debian || (bios !== 'default' && !existsSync(bios))) return skip();
      writeFileSync(at('disk'), readFileSync(at('archive')));
      truncateSync(at('disk'), DISK_BYTES);
      const machine = ['--machine', 'virt,aia=none'];
      const other = ['--device', 'virtio-net-device,netdev=n,mac=52:54:00:00:00:02'];
      const peer = start('net', ...machine, '--netdev', wire('2', '1'), ...other);
      const host = await HostProcess.start([`virtio-blk,drive=${at('archive')},readonly=on,serial=${PASSED}`]);
      hosts.push(host);
      const vmm = start(
        debian.kernel,
        ...['--host', host.socket, '--device', `vfio-pci,host=${host.devices[0]!.bdf}`],
        ...['-m', '512M', '--smp', `${harts}`, '--bios', bios, '--machine', `virt,aia=${aia}`],
        ...['--initrd', at('initrd'), '--append', QUIET_CONSOLE],
        ...['--drive', `file=${at('disk')}`, '--device', 'virtio-rng-pci'],
        ...['--virtfs', `local,path=${at('tree')},mount_tag=share,security_model=none,readonly=on`],
        ...['--chardev', `socket,id=c,path=${at('line')},server=on,wait=off`],
        ...['--device', 'virtio-serial-pci', '--device', 'virtconsole,chardev=c'],
        ...['--netdev', wire('1', '2'), '--device', 'virtio-net-pci,netdev=n,mac=52:54:00:00:00:01'],
      );
      const updates = keepUpdating(vmm);
      updates.catch(() => {}); // told below, unless the guest tells more
      await untilListening(at('line'), UPDATE_MS);
      const client = connect(at('line'));
      client.on('error', () => {}); // the VM ends
      client.once('data', () => client.write('answer\n'));
      await vmm.prints(/^ready/m);
      vmm.child.stdin.write('hello\n');
      expect(await vmm.exited).toEqual([0, null]);
      expect(vmm.output).toMatch(banner);
      expect(vmm.output).toContain(`processors ${harts}`);
      expect(vmm.output).toMatch(/^pci 0x0008 (?=.*0x1041 )(?=.*0x1042 )(?=.*0x1043 )(?=.*0x1044 )(?=.*0x1049 )/m);
      for (const whose of ["host's files", 'files']) {
        expect(vmm.output).toMatch(new RegExp(`^${whose} ${FILES} of ${FILES}$`, 'm'));
      }
      expect(vmm.output).toMatch(new RegExp(`^ *${ROUNDS} ${md5(readFileSync(at('archive')))} `, 'm'));
      expect(vmm.output.match(new RegExp(`^share ${FILES} of ${FILES}$`, 'gm'))).toHaveLength(5);
      expect(vmm.output).toMatch(/Read-only file system/);
      expect(vmm.output).toContain(`${PINGS} packets transmitted, ${PINGS} packets received, 0% packet loss`);
      expect(vmm.output).toContain('random bytes');
      expect(vmm.output).toContain('heard answer');
      expect(vmm.output).toContain('typed hello');
      for (const controller of CONTROLLERS[aia]) expect(vmm.output).toMatch(controller);
      writeFileSync(at('written'), readFileSync(at('disk')).subarray(SECOND_HALF));
      const written = execFileSync('tar', ['xOf', at('written'), './sums']);
      expect(written.toString()).toBe(sums);
      expect(await updates).toBeGreaterThan(2); // at least one in each half of its work
      peer.child.stdin.write('x');
      await peer.exited;
    },
  );
});
