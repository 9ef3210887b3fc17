/**
 * A request of a stock Linux is with a disk of the board that does not answer, while the VMM is
 * replaced: the guest gets the answer in the new image, and the disk has worked once.
 * LIVEVMM_DEBIAN=FOLDER keeps Linux's packages there.
 */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

import { INIT_BEGINS, initramfs, QUIET_CONSOLE } from '../../tools/debian/initramfs.ts';
import { HostProcess } from '../../tools/launch/host.ts';
import { askHost } from '../../vmm/client/control.ts';
import { KernelClient } from '../../vmm/client/kernel-client.ts';
import { canHoldThreads, HeldThread, readBy, readerOf } from '../devices/slow-disk/held-thread.ts';
import { isOffered } from '../offered.ts';
import { Sandbox } from '../tools/livevmm-process.ts';
import { updateEnded, VmmProcess } from '../vmm/vmm-process.ts';
import { isWantedNow, linuxFor } from './debian.ts';
import { UPDATE_MS } from './keep-updating.ts';

const LIMIT_MS = 600_000;
/** More than any other thread of the host reads while the guest reads one part of the disk. */
const PART_BYTES = 128 << 10;
const MODES = ['exec', 'transfer'] as const;

/** It reads the parts of the disk that it is told, each once: none is in its cache. */
const INIT = `${INIT_BEGINS}
for module in $(cat /lib/order); do insmod /lib/$module; done
echo 0 > /sys/block/vda/queue/read_ahead_kb
echo ready
while read part; do
  dd if=/dev/vda bs=${PART_BYTES} count=1 skip=$part 2>/dev/null | md5sum
done
`;

const canHold = isOffered(canHoldThreads, 'a disk that does not answer: x86-64');

it.runIf(isWantedNow('held-request') && canHold)(
  'a request that its disk holds over an update is answered once',
  { timeout: LIMIT_MS },
  async ({ skip, onTestFinished }) => {
    const sandbox = new Sandbox();
    onTestFinished(() => sandbox.remove());
    const at = (name: string): string => join(sandbox.dir, name);
    const debian = linuxFor(sandbox.dir);
    if (!debian) return skip();
    const { busybox, modules } = debian;
    const files = new Map([...modules, ['order', Buffer.from([...modules.keys()].join('\n'))]]);
    writeFileSync(at('initrd'), initramfs({ busybox, init: INIT, files }));
    const parts = ['first', ...MODES].map((name) => Buffer.alloc(PART_BYTES, name));
    writeFileSync(at('disk'), Buffer.concat(parts));
    const host = await HostProcess.start([`virtio-blk,drive=${at('disk')},readonly=on`]);
    onTestFinished(async () => void (await host.stop()));
    const client = new KernelClient(host.socket);
    onTestFinished(() => client.disconnect());
    const vmm = new VmmProcess(
      debian.kernel,
      ...['--host', host.socket, '--device', `vfio-pci,host=${host.devices[0]!.bdf}`],
      ...['--machine', 'virt,aia=aplic-imsic', '-m', '512M', '--initrd', at('initrd'), '--append', QUIET_CONSOLE],
    );
    onTestFinished(async () => void (await vmm.end()));
    /** Bytes that the disk has put into the guest's RAM. */
    const put = (): number => askHost(client, { op: 'info' }).devices[0]!.bytesWritten;
    const begin = (part: number): void => void vmm.child.stdin.write(`${part}\n`);
    const answer = (part: number): RegExp =>
      new RegExp(`^${createHash('md5').update(parts[part]!).digest('hex')} `, 'm');

    await vmm.prints(/^ready/m);
    const [threads, before] = [readBy(host.child.pid), put()];
    begin(0);
    await vmm.prints(answer(0));
    const perPart = put() - before;
    const disk = readerOf(host.child.pid, threads);
    const monitor = await vmm.monitor();
    for (const [n, mode] of MODES.entries()) {
      const thread = await HeldThread.seize(disk);
      try {
        begin(n + 1);
        await thread.stands();
        const ended = monitor.nextEvent(updateEnded, UPDATE_MS);
        await monitor.execute('live-update', { mode, probation: 0 });
        expect((await ended).data).toMatchObject({ status: 'completed', generation: n + 1 });
        expect(vmm.output).not.toMatch(answer(n + 1));
      } finally {
        await thread.release();
      }
      await vmm.prints(answer(n + 1));
      expect(put()).toBe(before + (n + 2) * perPart);
    }
    monitor.close();
  },
);
