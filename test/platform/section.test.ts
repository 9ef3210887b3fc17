import { describe, expect, it } from 'vitest';

import { einval } from '../../platform/errno.ts';
import { fd, visitingFds } from '../../platform/fd-shape.ts';
import { defineSection } from '../../platform/section.ts';
import { big, integer, list, nullable, object, record, text } from '../../platform/shape.ts';

describe('the sections of several owners alike', () => {
  const section = defineSection('hart', 3, { pc: integer });

  it('have the plain name for the first, and its number for each other', () => {
    expect([0, 1, 12].map((n) => section.numbered(n).name)).toEqual(['hart', 'hart 1', 'hart 12']);
  });

  it('have the same version and shape, and say which of them is wrong', () => {
    const second = section.numbered(1);
    expect(second.decode(second.of({ pc: 4 }))).toEqual({ version: 3, pc: 4 });
    expect(() => second.decode({ version: 2 })).toThrow('section hart 1: version 2, this build knows 3');
    expect(() => second.decode({ version: 3 })).toThrow('section hart 1: hart 1: pc is missing');
  });
});

describe('a section', () => {
  it('knows whether its body may name fds, wherever in it', () => {
    const nested = object({ ends: list(nullable(object({}, { socket: fd }))) });
    expect(defineSection('deep', 1, { all: record(nested) }).namesFds).toBe(true);
    expect(defineSection('absent', 1, { n: integer }, { file: fd }).numbered(1).namesFds).toBe(true);
    expect(defineSection('none', 1, { n: integer, at: list(object({ name: text })) }).namesFds).toBe(false);
  });
});

/** Version 1 counted in seconds, version 2 had no name; version 2 could not yet be written as 1. */
const timer = defineSection('timer', 3, { ms: big, name: text })
  .earlier(
    2,
    { ms: integer },
    {
      optional: { note: text },
      read: ({ ms, note = 'timer' }) => ({ ms: BigInt(ms), name: note }),
      write({ ms, name }) {
        if (name !== 'timer') throw einval(`version 2 has no name, and this timer is ${name}`);
        return { ms: Number(ms) };
      },
    },
  )
  .earlier(1, { s: integer }, { read: ({ s }) => ({ ms: BigInt(s) * 1000n, name: 'timer' }) });

describe('an earlier version of a section', () => {
  it('is read by its conversion', () => {
    expect(timer.decode({ version: 1, s: 3 } as never)).toEqual({ version: 3, ms: 3000n, name: 'timer' });
    expect(timer.decode({ version: 2, ms: 7 } as never)).toEqual({ version: 3, ms: 7n, name: 'timer' });
    expect(timer.decode({ version: 2, ms: 7, note: 'x' } as never)).toEqual({ version: 3, ms: 7n, name: 'x' });
    expect([0, 1, 2, 3, 4].filter((version) => timer.reads(version))).toEqual([1, 2, 3]);
  });

  it('is checked by its own shape before the conversion sees it', () => {
    expect(() => timer.decode({ version: 1 })).toThrow('section timer: timer: s is missing');
    expect(() => timer.decode({ version: 1, ms: 3 } as never)).toThrow('section timer: timer: ms is not known');
    expect(() => timer.decode({ version: 2, ms: 'x' } as never)).toThrow('section timer: timer.ms: no integer');
    expect(() => timer.decode({ version: 4 })).toThrow('section timer: version 4, this build knows 3 and 2 and 1');
  });

  it('must become a body of the version of today', () => {
    const wrong = defineSection('n', 2, { n: integer }).earlier(
      1,
      { n: text },
      { read: ({ n }) => ({ n: Number(n) }) },
    );
    expect(() => wrong.decode({ version: 1, n: 'x' } as never)).toThrow('section n: n.n: no integer');
  });

  it('is written where its owner says how', () => {
    const state = timer.of({ ms: 5n, name: 'timer' });
    expect(timer.encode(state, 3)).toBe(state);
    expect(timer.encode(state, 2)).toEqual({ version: 2, ms: 5 });
    expect([1, 2, 3, 4].filter((version) => timer.writes(version))).toEqual([2, 3]);
    expect(() => timer.encode(state, 1)).toThrow('section timer: this build does not write version 1');
  });

  it('is refused where it cannot say what the state says', () => {
    const named = timer.of({ ms: 5n, name: 'hpet' });
    expect(() => timer.encode(named, 2)).toThrow('section timer: version 2 has no name, and this timer is hpet');
    const broken = defineSection('n', 2, { n: integer }).earlier(
      1,
      { n: integer },
      {
        read: ({ n }) => ({ n }),
        write: ({ n }) => ({ n: n / 2 }),
      },
    );
    expect(() => broken.encode(broken.of({ n: 3 }), 1)).toThrow('section n: n.n: no integer');
  });

  it('has each of its fds seen once', () => {
    const file = defineSection('file', 2, { at: fd }).earlier(
      1,
      { fd },
      {
        read: ({ fd }) => ({ at: fd }),
        write: ({ at }) => ({ fd: at }),
      },
    );
    const seen: string[] = [];
    const renumber = (fd: number, at: string): number => {
      seen.push(at);
      return fd + 10;
    };
    expect(visitingFds(renumber, () => file.decode({ version: 1, fd: 5 } as never))).toEqual({ version: 2, at: 15 });
    expect(visitingFds(renumber, () => file.encode(file.of({ at: 5 }), 1))).toEqual({ version: 1, fd: 5 });
    expect(seen).toEqual(['file.at']);
  });

  it('is known to each of several owners alike', () => {
    expect(timer.numbered(1).decode({ version: 1, s: 1 } as never)).toMatchObject({ ms: 1000n });
    expect(() => timer.numbered(1).decode({ version: 1 })).toThrow('section timer 1: timer 1: s is missing');
  });
});
