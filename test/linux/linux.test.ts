/**
 * A stock Linux boots, lists its PCI devices, checks a tree of files on a disk of the host's, which
 * is passed through, and on one of its VMM's, writes it back, pings another guest and powers off,
 * while its VMM is replaced every second. With an IOMMU of its own, it has all devices of its VMM
 * behind that. LIVEVMM_DEBIAN=FOLDER keeps its packages there.
 */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { untilListening } from '../../platform/unix-listener.ts';
import { INIT_BEGINS, initramfs, QUIET_CONSOLE } from '../../tools/debian/initramfs.ts';
import type { DebianLinux } from '../../tools/debian/linux.ts';
import { HostProcess } from '../../tools/launch/host.ts';
import { Sandbox } from '../tools/livevmm-process.ts';
import { VmmProcess } from '../vmm/vmm-process.ts';
import { linuxFor, wantedNow } from './debian.ts';
import { keepUpdating, UPDATE_MS } from './keep-updating.ts';

const OPENSBI = '/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.elf';
const LIMIT_MS = 900_000;
const HARTS = 2;
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
echo "iommu groups $(ls /sys/kernel/iommu_groups | wc -l)"
passed=$(grep -l ${PASSED} /sys/block/vd*/serial | cut -d/ -f4)
own=$(ls /sys/block | grep '^vd' | grep -v "^$passed$")
if [ "$passed" ]; then
  mkdir /host && cd /host && tar xf /dev/$passed
  echo "host's files $(md5sum -c sums | grep -c OK) of $(wc -l < sums)"
  for round in $(seq ${ROUNDS}); do echo 1 > /proc/sys/vm/drop_caches; md5sum < /dev/$passed; done | sort | uniq -c
fi
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

/** Who tells Linux of interrupts: of the UART, and of its VMM's disk. */
const CONTROLLERS = {
  none: [/ SiFive PLIC +10 Edge +ttyS0$/m, / SiFive PLIC +\d+ Edge +virtio\d/m],
  'aplic-imsic': [/ APLIC-MSI-\S+ +10 Level .*ttyS0$/m, / PCI-MSIX-\S+ +1 Edge +virtio\d+-req/m],
} as const;

interface Way {
  readonly name: string;
  readonly bios: string;
  readonly aia: keyof typeof CONTROLLERS;
  /** What the VMM's own devices are on. */
  readonly transport: 'pci' | 'device';
  /** The kernel is given in gzip. */
  readonly packed?: true;
  /** The VMM's own devices are behind the guest's IOMMU, and no device is passed through. */
  readonly iommu?: true;
}

const [PCI, MMIO] = ['pci', 'device'] as const;
const WAYS: readonly Way[] = [
  { name: 'our firmware', bios: 'default', aia: 'aplic-imsic', transport: PCI },
  { name: 'OpenSBI', bios: OPENSBI, aia: 'aplic-imsic', transport: PCI, packed: true },
  { name: 'our firmware, with virtio over MMIO', bios: 'default', aia: 'none', transport: MMIO },
  { name: 'our firmware, with an IOMMU', bios: 'default', aia: 'aplic-imsic', transport: PCI, iommu: true },
  { name: 'OpenSBI', bios: OPENSBI, aia: 'none', transport: PCI },
];

/** What Linux reads of the devices on its bus: the bridge, and those of virtio. */
const PCI_DEVICES = {
  pci: /^pci 0x0008 (?=.*0x1041 )(?=.*0x1042 )(?=.*0x1043 )(?=.*0x1044 )(?=.*0x1049 )/m,
  device: /^pci 0x0008 0x1042 $/m,
} as const;

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

const now = wantedNow(WAYS);

describe.runIf(now.length > 0)('Debian on the virt machine', () => {
  let sandbox: Sandbox;
  let sums: string;
  beforeAll(() => {
    sandbox = new Sandbox();
    sums = makeTree();
  });
  const children: VmmProcess[] = [];
  const hosts: HostProcess[] = [];
  afterAll(async () => {
    for (const child of children) await child.end();
    for (const host of hosts) await host.stop();
    sandbox.remove();
  });

  const at = (name: string): string => join(sandbox.dir, name);

  /** Makes the files and an archive of them for the disks; returns the files' sums. */
  function makeTree(): string {
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

  /** Makes kernel, initial RAM disk and disk; returns the kernel's path. */
  function prepare({ kernel, busybox, modules }: DebianLinux, { packed }: Way): string {
    const files = new Map([...modules, ['order', Buffer.from([...modules.keys()].join('\n'))]]);
    writeFileSync(at('initrd'), initramfs({ busybox, init: INIT, files }));
    writeFileSync(at('disk'), readFileSync(at('archive')));
    truncateSync(at('disk'), DISK_BYTES);
    if (!packed) return kernel;
    writeFileSync(at('kernel.gz'), gzipSync(readFileSync(kernel), { level: 1 }));
    return at('kernel.gz');
  }

  /** The host's disk, passed through. */
  async function passDisk(): Promise<string[]> {
    const host = await HostProcess.start([`virtio-blk,drive=${at('archive')},readonly=on,serial=${PASSED}`]);
    hosts.push(host);
    return ['--host', host.socket, '--device', `vfio-pci,host=${host.devices[0]!.bdf}`];
  }

  /** The VMM's own devices. */
  function ownDevices({ transport, iommu }: Way): string[] {
    const behind = iommu ? ',iommu_platform=on,disable-legacy=on' : '';
    const device = (kind: string, properties = ''): string[] => [
      '--device',
      `virtio-${kind}-${transport}${properties}${behind}`,
    ];
    return [
      ...['--drive', `file=${at('disk')},if=none,id=d`, ...device('blk', ',drive=d'), ...device('rng')],
      ...['--fsdev', `local,id=f,path=${at('tree')},security_model=none,readonly=on`],
      ...device('9p', ',fsdev=f,mount_tag=share'),
      ...['--chardev', `socket,id=c,path=${at('line')},server=on,wait=off`],
      ...[...device('serial'), '--device', 'virtconsole,chardev=c'],
      ...['--netdev', wire('1', '2'), ...device('net', ',netdev=n,mac=52:54:00:00:00:01')],
    ];
  }

  const wire = (from: string, to: string): string => `dgram,id=n,local.path=${at(from)},remote.path=${at(to)}`;

  function start(guest: string, ...words: readonly string[]): VmmProcess {
    const vmm = new VmmProcess(guest, ...words);
    children.push(vmm);
    return vmm;
  }

  it.for(now)(
    'boots on $name with aia=$aia and does its work, replaced every second',
    { timeout: LIMIT_MS },
    async (way, { skip }) => {
      const { bios, aia, transport, iommu } = way;
      if (bios === OPENSBI && !existsSync(OPENSBI)) return skip(`no ${OPENSBI} (Debian's package opensbi)`);
      const debian = linuxFor(sandbox.dir, iommu ? 'forky' : 'trixie');
      if (!debian) return skip();
      const kernel = prepare(debian, way);
      const machine = ['--machine', 'virt,aia=none'];
      const other = ['--device', 'virtio-net-device,netdev=n,mac=52:54:00:00:00:02'];
      const peer = start('net', ...machine, '--netdev', wire('2', '1'), ...other);
      const vmm = start(
        kernel,
        ...(iommu ? [] : await passDisk()),
        ...['-m', '512M', '--smp', `${HARTS}`, '--bios', bios],
        ...['--machine', `virt,aia=${aia}${iommu ? ',iommu-sys=on' : ''}`],
        ...['--initrd', at('initrd'), '--append', QUIET_CONSOLE],
        ...ownDevices(way),
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
      expect(/^OpenSBI v/m.test(vmm.output)).toBe(bios === OPENSBI);
      expect(vmm.output).toContain(`processors ${HARTS}`);
      expect(vmm.output).toMatch(PCI_DEVICES[transport]);
      expect(Number(/^iommu groups (\d+)/m.exec(vmm.output)![1]) > 0).toBe(iommu === true);
      expect(vmm.output).toMatch(new RegExp(`^files ${FILES} of ${FILES}$`, 'm'));
      const passed = [`host's files ${FILES} of ${FILES}`, ` *${ROUNDS} ${md5(readFileSync(at('archive')))} `];
      for (const line of iommu ? [] : passed) expect(vmm.output).toMatch(new RegExp(`^${line}`, 'm'));
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
