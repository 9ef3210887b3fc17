import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { epollAdd, epollCreate } from '../../platform/libc/epoll.ts';
import { EFD_CLOEXEC, eventfd, eventfdSignal } from '../../platform/libc/eventfd.ts';
import { close } from '../../platform/libc/fd.ts';
import { futexWake, type WaitedWord } from '../../platform/libc/futex.ts';
import { POLLIN } from '../../platform/libc/poll.ts';
import { RequestRing } from '../../platform/request-ring.ts';
import { canRingForWords } from './rings.ts';

const EAGAIN = 11;
/** A sleep that somebody ends. */
const LONG_MS = 60_000;

let ring: RequestRing;
let word: WaitedWord;
beforeEach(({ skip }) => {
  skip(!canRingForWords, 'Linux has no io_uring that waits for words here');
  ring = RequestRing.create();
  word = { words: new Int32Array(new SharedArrayBuffer(64)), index: 3, seen: 0, shared: false };
});
afterEach(() => {
  if (canRingForWords) ring.close();
});

/** Sleeps; the completions that there are then, as [request, result]. */
function completions(timeoutMs = LONG_MS): readonly (readonly [number, number])[] {
  const all: [number, number][] = [];
  ring.wait(timeoutMs);
  ring.take((...completion) => all.push(completion));
  return all;
}

describe('a ring of requests', () => {
  it('completes when a word is woken, once', () => {
    const request = ring.waitForWord(word);
    Atomics.add(word.words, word.index, 1);
    futexWake(word);
    expect([ring.any(), completions()]).toEqual([true, [[request, 0]]]);

    futexWake(word);
    expect([ring.any(), completions(1)]).toEqual([false, []]);
  });

  it.each([true, false])('completes at once for a word that has changed, shared: %s', (shared) => {
    const request = ring.waitForWord({ ...word, shared, seen: -7 });

    expect(completions()).toEqual([[request, -EAGAIN]]);
  });

  it('does not complete for a word that nobody wakes, and waits no longer than it is told', () => {
    ring.waitForWord(word);

    expect(completions(5)).toEqual([]);
  });

  it('knows nothing more of a word once that is cancelled', () => {
    const request = ring.waitForWord(word);
    ring.cancel(request);
    Atomics.add(word.words, word.index, 1);
    futexWake(word);

    expect(completions().filter(([, result]) => result >= 0)).toEqual([]);
  });

  it('completes when an epoll instance has something, though that was before', () => {
    const epoll = epollCreate();
    const fd = eventfd(0, EFD_CLOEXEC);
    epollAdd(epoll, fd, POLLIN);
    const first = ring.pollIn(epoll);
    expect(completions(1)).toEqual([]);
    eventfdSignal(fd);
    const told = completions();
    const second = ring.pollIn(epoll);

    expect([told, completions()]).toEqual([[[first, POLLIN]], [[second, POLLIN]]]);
    for (const one of [epoll, fd]) close(one);
  });

  it('keeps apart which of many words was woken', () => {
    const words = Array.from({ length: 200 }, (_, index) => ({
      ...{ words: new Int32Array(new SharedArrayBuffer(800)), index, seen: 0, shared: true },
    }));
    const requests = words.map((one) => ring.waitForWord(one));
    for (const one of [words[199]!, words[7]!]) {
      Atomics.add(one.words, one.index, 1);
      futexWake(one);
    }

    expect(completions()).toEqual([
      [requests[199], 0],
      [requests[7], 0],
    ]);
  });
});
