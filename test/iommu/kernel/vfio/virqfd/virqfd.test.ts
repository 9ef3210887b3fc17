import { readdirSync } from 'node:fs';

import { describe, expect, it, vi } from 'vitest';

import type { ClientEventfd } from '../../../../../iommu/kernel/core/open-file.ts';
import { Virqfds } from '../../../../../iommu/kernel/vfio/virqfd/virqfd.ts';
import {
  EFD_CLOEXEC,
  EFD_NONBLOCK,
  eventfd,
  eventfdRead,
  eventfdSignal,
} from '../../../../../platform/libc/eventfd.ts';
import { close, dupCloexec } from '../../../../../platform/libc/fd.ts';

const ofFd = (fd: number): ClientEventfd => ({ fd: dupCloexec(fd), again: () => dupCloexec(fd) });
const nothing = (): void => undefined;

describe('eventfds that a device has watched', () => {
  it('are ENOMEM beyond its share of the host, and leave nothing behind then; the others go on', async () => {
    const virqfds = new Virqfds('test', 2);
    const fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    const heard = vi.fn<() => void>();
    const first = virqfds.watch(ofFd(fd), heard);
    const second = virqfds.watch(ofFd(fd), nothing);
    await second.armed;
    const open = readdirSync('/proc/self/fd').length;

    expect(() => virqfds.watch(ofFd(fd), nothing)).toThrow(expect.objectContaining({ code: 'ENOMEM' }));

    expect(readdirSync('/proc/self/fd').length).toBe(open);
    eventfdSignal(fd);
    await vi.waitUntil(() => heard.mock.calls.length === 1);
    second.close();
    const third = virqfds.watch(ofFd(fd), nothing);
    for (const watch of [first, third]) watch.close();
    expect(eventfdRead(fd)).toBe(0);
    close(fd);
  });

  it('that are dropped are not heard of, though they were signalled before', async () => {
    const virqfds = new Virqfds('test');
    const fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    const heard = vi.fn<() => void>();
    const watch = virqfds.watch(ofFd(fd), heard);
    await watch.armed;

    eventfdSignal(fd);
    watch.drop();

    // turns of the event loop: nothing may come
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(heard).not.toHaveBeenCalled();
    close(fd);
  });
});
