import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Bells } from '../../../../iommu/kernel/core/bells.ts';
import { OWN_CALLS, type RingingDoor, type Served } from '../../../../iommu/kernel/core/door.ts';
import { EFD_CLOEXEC, eventfd, eventfdSignal } from '../../../../platform/libc/eventfd.ts';
import { close } from '../../../../platform/libc/fd.ts';
import { futexWake, type WaitedWord } from '../../../../platform/libc/futex.ts';
import { canRingForWords } from '../../../platform/rings.ts';

/** A door with a bell. It notes what is done with it. */
class TestDoor implements RingingDoor {
  readonly pace = OWN_CALLS;
  readonly done: string[] = [];
  readonly words = new Int32Array(new SharedArrayBuffer(64));

  letRing(): WaitedWord {
    this.done.push('let ring');
    return { words: this.words, index: 0, seen: Atomics.load(this.words, 0), shared: false };
  }

  serve(): Served {
    this.done.push('served');
    return 'nothing';
  }

  setAttentive(): void {}

  inTurn(work: () => void): void {
    work();
  }

  ring(): void {
    Atomics.add(this.words, 0, 1);
    futexWake({ words: this.words, index: 0, shared: false });
  }
}

/** A sleep that somebody ends. */
const LONG_MS = 60_000;

describe('bells', () => {
  let loop: number;
  let bells: Bells;
  let door: TestDoor;
  let other: TestDoor;
  beforeEach(({ skip }) => {
    skip(!canRingForWords, 'Linux has no io_uring that waits for words here');
    loop = eventfd(0, EFD_CLOEXEC);
    bells = Bells.create(loop)!;
    door = new TestDoor();
    other = new TestDoor();
    for (const one of [door, other]) bells.add(one);
  });
  afterEach(() => {
    if (!canRingForWords) return;
    bells.close();
    close(loop);
  });

  it('are let ring before the last look at their doors', () => {
    expect(door.done).toEqual(['let ring', 'served']);
  });

  it('wake the thread, which then knows who has rung', () => {
    other.ring();
    bells.wait(LONG_MS);

    expect([bells.any(), bells.take(), bells.take(), bells.any()]).toEqual([true, [other], [], false]);
  });

  it('are heard again once they are armed again, and not before', () => {
    door.ring();
    const first = bells.take();
    door.ring();
    const unheard = bells.take();
    bells.arm(door);
    door.ring();

    expect([first, unheard, bells.take()]).toEqual([[door], [], [door]]);
  });

  it('are waited for once, though they are armed twice', () => {
    bells.arm(door);
    door.ring();

    expect([bells.take(), bells.take()]).toEqual([[door], []]);
  });

  it('of a door that has gone are not heard', () => {
    bells.remove(door);
    door.ring();
    bells.wait(1);

    expect([bells.has(door), bells.take(), bells.empty]).toEqual([false, [], false]);
    bells.remove(other);
    expect(bells.empty).toBe(true);
  });

  it('are no longer slept on when the event loop has something to do', () => {
    eventfdSignal(loop);
    bells.wait(LONG_MS);
    expect([bells.any(), bells.take()]).toEqual([true, []]);

    bells.wait(LONG_MS); // it still has
    expect(bells.any()).toBe(true);
  });

  it('are slept on for so long at the most', () => {
    bells.wait(2);

    expect(bells.any()).toBe(false);
  });
});
