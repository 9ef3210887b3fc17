import { describe, expect, it } from 'vitest';

import { eventfd } from '../../../platform/libc/eventfd.ts';
import { close, dup, getCloexec, setCloexec } from '../../../platform/libc/fd.ts';

describe('file descriptors', () => {
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
