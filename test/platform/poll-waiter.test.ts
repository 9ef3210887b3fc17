import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { EventfdWatch, eventfdId, isEventfd, takeEdge } from '../../platform/eventfd-watch.ts';
import { EFD_CLOEXEC, eventfd, eventfdDrain, eventfdRead, eventfdSignal } from '../../platform/libc/eventfd.ts';
import { close, dup } from '../../platform/libc/fd.ts';
import { EpollWaiter, type PollWaiter, RingWaiter } from '../../platform/poll-waiter.ts';
import { canRing } from './rings.ts';

let waiter: PollWaiter;
let fd: number;
let other: number;
beforeEach(() => {
  fd = eventfd(0, EFD_CLOEXEC);
  other = eventfd(0, EFD_CLOEXEC);
});
afterEach(() => {
  waiter.close();
  close(other);
});

/** What `waiter` tells of until it tells of `other`, which is signalled now. */
function told(): readonly number[] {
  eventfdSignal(other);
  const all: number[] = [];
  while (!all.includes(other)) all.push(...waiter.wait());
  eventfdRead(other);
  waiter.arm(other);
  return all.filter((one) => one !== other);
}

describe.each([
  ['io_uring', canRing, () => RingWaiter.create()],
  ['epoll', true, () => new EpollWaiter()],
] as const)('a waiter by %s', (name, possible, create) => {
  beforeEach(({ skip }) => {
    skip(!possible, 'Linux allows no io_uring here');
    waiter = create();
    waiter.arm(other);
  });

  it('tells of an armed fd once, and again when it is armed again', () => {
    waiter.arm(fd);
    eventfdSignal(fd);
    const first = told();
    const second = told();
    waiter.arm(fd);

    expect([first, second, told()]).toEqual([[fd], [], [fd]]);
    close(fd);
  });

  it('tells nothing of a fd that was disarmed', () => {
    waiter.arm(fd);
    waiter.disarm(fd);
    eventfdSignal(fd);

    expect(told()).toEqual([]);
    close(fd);
  });

  it('tells of more fds than Linux has room for', () => {
    const many = Array.from({ length: 300 }, () => dup(fd));
    for (const one of many) waiter.arm(one);
    eventfdSignal(fd);
    const all: number[] = [];
    while (all.length < many.length) all.push(...waiter.wait());

    expect(all.toSorted((a, b) => a - b)).toEqual(many.toSorted((a, b) => a - b));
    for (const one of [...many, fd]) close(one);
  });

  it('tells of each signal of an eventfd that is watched, whether it is read or not', () => {
    const watch = new EventfdWatch(dup(fd));
    const signalled = (): readonly number[] => {
      eventfdSignal(fd);
      waiter.arm(watch.epoll);
      const all = told();
      takeEdge(watch.epoll);
      return all;
    };

    expect([signalled(), signalled()]).toEqual([[watch.epoll], [watch.epoll]]);
    waiter.arm(watch.epoll);
    eventfdDrain(fd);
    expect(told()).toEqual([]);
    watch.close();
    close(fd);
  });

  it.runIf(name === 'io_uring')('tells of a signal though the eventfd was closed before anybody looked', () => {
    const watch = new EventfdWatch(dup(fd));
    waiter.arm(watch.epoll);

    eventfdSignal(fd);
    close(fd);

    expect([told(), watch.alive()]).toEqual([[watch.epoll], false]);
    watch.close();
  });
});

describe('a watched eventfd', () => {
  beforeEach(() => {
    waiter = new EpollWaiter();
  });

  it('lives as long as somebody else has it open', () => {
    const copy = dup(fd);
    const watch = new EventfdWatch(dup(fd));
    close(fd);
    const during = watch.alive();
    close(copy);

    expect([during, watch.alive(), takeEdge(watch.epoll)]).toEqual([true, false, false]);
    watch.close();
  });

  it('has an id of its own, and is no other file', () => {
    expect(eventfdId(fd)).toBe(eventfdId(fd));
    expect(eventfdId(fd)).not.toBe(eventfdId(other));
    expect([isEventfd(fd), isEventfd(1)]).toEqual([true, false]);
    close(fd);
  });
});
