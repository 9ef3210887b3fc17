/**
 * A stock Linux is recorded while it uses a disk, a folder, a network, a console and the keyboard,
 * and while its VMM is replaced. Its replay has no other guest, no client, an empty folder and the
 * disk as it was: it prints the same, writes the same to the disk, and ends with the same RAM.
 * LIVEVMM_DEBIAN=FOLDER keeps its packages there.
 */
import { copyFileSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, it } from 'vitest';

import { untilListening } from '../../platform/unix-listener.ts';
import { INIT_BEGINS, initramfs, QUIET_CONSOLE } from '../../tools/debian/initramfs.ts';
import { Sandbox } from '../tools/livevmm-process.ts';
import { updateEnded, VmmProcess } from '../vmm/vmm-process.ts';
import { isWantedNow, linuxFor } from './debian.ts';
import { UPDATE_MS } from './keep-updating.ts';

const LIMIT_MS = 900_000;
const DISK_BYTES = 4 << 20;

const INIT = `${INIT_BEGINS}
for module in $(cat /lib/order); do insmod /lib/$module; done
mkdir /share && mount -t 9p -o trans=virtio,version=9p2000.L,ro share /share
md5sum /share/file /dev/vda
ip addr add 10.0.2.1/24 dev eth0 && ip link set eth0 up
ping -c 5 -i 0.2 10.0.2.2
dd if=/dev/hwrng bs=64 count=4 2>/dev/null | md5sum
exec 3<>/dev/hvc0
echo question >&3
read answer <&3
date
echo "heard $answer"
echo ready
read line
echo "typed $line"
(cat /proc/uptime; dmesg) | dd of=/dev/vda bs=4k conv=notrunc,fsync 2>/dev/null
poweroff -f
`;

it.runIf(isWantedNow('replay'))('Debian is the same again', { timeout: LIMIT_MS }, async ({ skip, onTestFinished }) => {
  const sandbox = new Sandbox();
  onTestFinished(() => sandbox.remove());
  const debian = linuxFor(sandbox.dir);
  if (!debian) return skip();
  const at = (name: string): string => join(sandbox.dir, name);
  const { busybox, modules } = debian;
  const files = new Map([...modules, ['order', Buffer.from([...modules.keys()].join('\n'))]]);
  writeFileSync(at('initrd'), initramfs({ busybox, init: INIT, files }));
  mkdirSync(at('share'));
  writeFileSync(at('share/file'), 'a file of the host\n');
  writeFileSync(at('before'), 'a disk');
  truncateSync(at('before'), DISK_BYTES);

  const start = (guest: string, ...words: readonly string[]): VmmProcess => {
    const vmm = new VmmProcess(guest, ...words);
    onTestFinished(async () => void (await vmm.end()));
    return vmm;
  };
  const wire = (from: string, to: string): string => `dgram,id=n,local.path=${at(from)},remote.path=${at(to)}`;
  const run = (mode: 'record' | 'replay', ...words: readonly string[]): VmmProcess => {
    copyFileSync(at('before'), at('disk'));
    return start(
      debian.kernel,
      ...['-icount', `shift=2,rr=${mode},rrfile=${at('log')}`, '--smp', '2', '--machine', 'virt,aia=aplic-imsic'],
      ...['-m', '256M', '--initrd', at('initrd'), '--append', QUIET_CONSOLE],
      ...['--drive', `file=${at('disk')}`, '--device', 'virtio-rng-pci'],
      ...['--virtfs', `local,path=${at('share')},mount_tag=share,security_model=none,readonly=on`],
      ...['--chardev', `socket,id=c,path=${at('line')},server=on,wait=off`],
      ...['--device', 'virtio-serial-pci', '--device', 'virtconsole,chardev=c'],
      ...['--netdev', wire('1', '2'), '--device', 'virtio-net-pci,netdev=n,mac=52:54:00:00:00:01'],
      ...words,
    );
  };

  const other = ['--netdev', wire('2', '1'), '--device', 'virtio-net-device,netdev=n,mac=52:54:00:00:00:02'];
  const peer = start('net', '--machine', 'virt,aia=none', ...other);
  const recorder = run('record');
  const qmp = await recorder.monitor();
  await untilListening(at('line'), UPDATE_MS);
  const client = connect(at('line'));
  client.on('error', () => {}); // the VM ends
  client.once('data', () => client.write('answer\n'));
  await recorder.prints(/^ready/m);
  const updated = qmp.nextEvent(updateEnded, UPDATE_MS);
  await qmp.execute('live-update', { probation: 0 });
  expect((await updated).data).toMatchObject({ status: 'completed' });
  qmp.close();
  recorder.child.stdin.write('hello\n');
  expect(await recorder.exited).toEqual([0, null]);
  expect(recorder.output).toContain('5 packets transmitted, 5 packets received, 0% packet loss');
  expect(recorder.output).toContain('heard answer');
  expect(recorder.output).toContain('typed hello');
  peer.child.stdin.write('x');
  await peer.exited;
  const written = readFileSync(at('disk'));
  expect(written.includes('Linux version')).toBe(true);
  rmSync(at('share/file'));

  const replay = run('replay');
  expect(await replay.exited).toEqual([0, null]);
  expect(replay.output).toBe(recorder.output);
  expect(replay.errors).toMatch(/^vmm: replay: the guest has ended as it was recorded: \d+ instructions, /);
  expect(Buffer.compare(readFileSync(at('disk')), written)).toBe(0);
});
