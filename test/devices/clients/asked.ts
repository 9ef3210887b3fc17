/**
 * Has an edu device open and says each time that it is asked for it by REQ: how often since the
 * last time, and what the device's id register has then. argv: socket, group, bdf, and how often it
 * is asked until it gives the device back.
 */
import { EFD_CLOEXEC, eventfd, eventfdRead } from '../../../platform/libc/eventfd.ts';
import { POLLIN, poll } from '../../../platform/libc/poll.ts';
import { armIrqs } from '../../../vmm/client/irqs.ts';
import { kernel, openDeviceOf, say, setCommand } from './script.ts';

const REQ = 4;
const LONGEST_MS = 120_000;
const [group, bdf, times] = process.argv.slice(3);

const { device, fd, groupFd, container, registers } = openDeviceOf(Number(group), bdf!);
const asked = eventfd(0, EFD_CLOEXEC);
armIrqs(kernel, fd, REQ, [asked]);
setCommand(device, 2);
say('open');
for (let i = 0; i < Number(times); i++) {
  if (!poll([{ fd: asked, events: POLLIN }], LONGEST_MS)) throw new Error('nobody asks');
  say({ asked: eventfdRead(asked), id: registers.read(0) });
}
for (const file of [fd, groupFd, container]) kernel.close(file);
