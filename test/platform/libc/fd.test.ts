import { describe, expect, it } from 'vitest';

import { eventfd, eventfdRead, eventfdSignal } from '../../../platform/libc/eventfd.ts';
import { close, dup, dupCloexec, getCloexec, setCloexec } from '../../../platform/libc/fd.ts';

describe('file descriptors', () => {
  it('are inherited as copies of dup, and not as those of dupCloexec', () => {
    const fd = eventfd();
    const [copy, own] = [dup(fd), dupCloexec(fd)];
    eventfdSignal(own);

    expect([getCloexec(copy), getCloexec(own), eventfdRead(copy)]).toEqual([false, true, 1]);
    for (const one of [fd, copy, own]) close(one);
  });

  it('can be kept over execve or not; a duplicate decides for itself', () => {
    const fd = eventfd();
    const copy = dup(fd);
    expect([getCloexec(fd), getCloexec(copy)]).toEqual([true, false]);

    setCloexec(fd, false);
    setCloexec(copy, true);

    expect([getCloexec(fd), getCloexec(copy)]).toEqual([false, true]);
    close(fd);
    close(copy);
  });
});
