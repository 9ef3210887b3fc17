import { describe, expect, it } from 'vitest';

import { EFD_NONBLOCK, eventfd, eventfdRead, eventfdSignal } from '../../../platform/libc/eventfd.ts';
import { close } from '../../../platform/libc/fd.ts';
import { POLLIN, poll } from '../../../platform/libc/poll.ts';
import { code } from './code.ts';

describe('an eventfd', () => {
  it('adds up what is signalled, and is empty after a read', () => {
    const fd = eventfd(2, EFD_NONBLOCK);
    eventfdSignal(fd);

    expect([eventfdRead(fd), eventfdRead(fd)]).toEqual([3, 0]);
    close(fd);
  });

  it('makes poll return', () => {
    const quiet = eventfd(0, EFD_NONBLOCK);
    const busy = eventfd(1, EFD_NONBLOCK);

    const events = poll(
      [quiet, busy].map((fd) => ({ fd, events: POLLIN })),
      1000,
    );

    expect(events).toEqual([0, POLLIN]);
    expect(poll([{ fd: quiet, events: POLLIN }], 0)).toBeUndefined();
    close(quiet);
    close(busy);
  });

  it('that is closed is EBADF', () => {
    const fd = eventfd();
    close(fd);

    expect(() => close(fd)).toThrow(code('EBADF'));
    expect(() => eventfdSignal(fd)).toThrow(code('EBADF'));
  });
});
