import { describe, expect, it } from 'vitest';

import { close } from '../../platform/libc/fd.ts';
import { createMemory, Reservation } from '../../platform/memory.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { PageArena } from '../../platform/page-arena.ts';
import { uint8s } from '../../platform/shared.ts';

const arenaOf = (places: number, most: number): PageArena =>
  new PageArena(new Reservation(places * most * PAGE_SIZE).buffer, most);

describe('an arena', () => {
  it('has objects of some pages side by side, and both sides see the same bytes', () => {
    const ours = arenaOf(2, 2);
    const theirs = arenaOf(2, 2);
    const seen: Uint8Array[] = [];
    const made = [2, 1].map((nrPages) => ours.make('object', (fd) => seen.push(uint8s(theirs.map(fd).part)), nrPages));
    for (const [i, { part }] of made.entries()) uint8s(part).fill(i + 1);

    expect(seen.map((bytes) => bytes.length)).toEqual([2 * PAGE_SIZE, PAGE_SIZE]);
    expect(seen.map((bytes) => new Set(bytes))).toEqual([new Set([1]), new Set([2])]);
  });

  it('maps no more of an object than it has place for, and no page that is not there', () => {
    const fd = createMemory('object', 3 * PAGE_SIZE);
    const empty = createMemory('empty', 0);
    expect(arenaOf(1, 2).map(fd).part.size).toBe(2 * PAGE_SIZE);
    expect(() => arenaOf(1, 2).map(empty)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    close(fd);
    close(empty);
  });

  it('ENOMEM without room; what is released is zero and has room for the next', () => {
    const arena = arenaOf(1, 16);
    const made = arena.make('object', () => undefined, 16);
    const bytes = uint8s(made.part).fill(5);
    expect(() => arena.make('object', () => undefined)).toThrow(expect.objectContaining({ code: 'ENOMEM' }));
    made.release();

    expect(new Set(bytes)).toEqual(new Set([0]));
    expect(arena.make('object', () => undefined).part.size).toBe(PAGE_SIZE);
  });
});
