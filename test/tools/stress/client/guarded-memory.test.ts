import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { close } from '../../../../platform/libc/fd.ts';
import { createMemory } from '../../../../platform/memory.ts';
import { GuardedMemory } from '../../../../tools/stress/client/guarded-memory.ts';
import { Violation } from '../../../../tools/stress/invariants.ts';

const NR_PAGES = 8;
const PAGE = 4096;

let fd: number;
let memory: GuardedMemory;
beforeEach(() => {
  fd = createMemory('guarded', NR_PAGES * PAGE);
  memory = new GuardedMemory(fd, NR_PAGES);
});
afterEach(() => close(fd));

describe('guarded memory', () => {
  it.each([0, 4, PAGE - 1])('sees a change of byte %i of a page', (offset) => {
    expect(memory.check()).toBe(NR_PAGES);
    memory.bytes[3 * PAGE + offset]! ^= 1;
    expect(() => memory.check()).toThrow(Violation);
    expect(() => memory.check()).toThrow(/^page 3 /);
    expect(memory.check(0, 3) + memory.check(4, NR_PAGES)).toBe(NR_PAGES - 1);
  });

  it('lets devices write what is mapped, until the last mapping goes', () => {
    memory.open(2, 4);
    memory.open(3, 5);
    memory.bytes.fill(1, 2 * PAGE, 5 * PAGE);
    expect(memory.check()).toBe(NR_PAGES - 3);
    memory.close(2, 4);
    expect([2, 3, 4].map((page) => memory.isGuarded(page))).toEqual([true, false, false]);
    memory.close(3, 5);
    expect(memory.check()).toBe(NR_PAGES);
  });

  it('sees the bytes of an earlier guard', () => {
    const before = memory.bytes.slice(0, PAGE);
    memory.open(0, 1);
    memory.close(0, 1);
    memory.bytes.set(before);
    expect(() => memory.check()).toThrow(Violation);
  });

  it('goes on in the next image, over the same object', () => {
    memory.open(1, 2);
    const next = new GuardedMemory(fd, NR_PAGES, JSON.parse(JSON.stringify(memory.save())));
    expect(next.check()).toBe(NR_PAGES - 1);
    memory.bytes[0]! ^= 1; // through the other mapping
    expect(() => next.check()).toThrow(/^page 0 /);
  });

  it('guards everything anew for a process that starts', () => {
    memory.open(0, NR_PAGES);
    memory.bytes.fill(7);
    expect(new GuardedMemory(fd, NR_PAGES).check()).toBe(NR_PAGES);
  });
});
