/**
 * A process that may not use the system calls of argv[2] (numbers, by commas): signals an eventfd
 * whose count is 5, 100 times, then once more when its count is the largest that write(2) can make.
 * Says `{ count, full, open }` or `{ errno }` as JSON.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import { createEventfdSources, EventfdSources } from '../../platform/eventfd-source.ts';
import { EFD_CLOEXEC, eventfd, eventfdRead } from '../../platform/libc/eventfd.ts';
import { dup } from '../../platform/libc/fd.ts';
import { write } from '../../platform/libc/file-bytes.ts';
import { POLLIN, poll } from '../../platform/libc/poll.ts';
import { denySystemCalls } from './system-call-filter.ts';

const EPERM = 1;
const numbers = (process.argv[2] ?? '').split(',').filter(Boolean).map(Number);
if (numbers.length > 0) denySystemCalls(numbers, EPERM);
const sources = new EventfdSources(createEventfdSources());
const fd = eventfd(5, EFD_CLOEXEC);

/** Fds of this process that are eventfds, but for libuv's. */
const eventfds = (): number =>
  readdirSync('/proc/self/fd').filter((name) => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`) === 'anon_inode:[eventfd]';
    } catch {
      return false; // the one that reads the folder
    }
  }).length;

try {
  const before = eventfds();
  const source = sources.open(dup(fd));
  const open = eventfds() - before;
  for (let i = 0; i < 100; i++) sources.signal(source);
  const count = eventfdRead(fd);
  write(fd, new Uint8Array(new BigUint64Array([0xffff_ffff_ffff_fffen]).buffer));
  sources.signal(source);
  sources.signal(source);
  const [full] = poll([{ fd, events: POLLIN }], 0) ?? [0];
  sources.close(source);
  sources.dispose();
  console.log(JSON.stringify({ count, full, open, left: eventfds() - before }));
} catch (error) {
  console.log(JSON.stringify({ errno: (error as { code: string }).code, left: 0 }));
}
