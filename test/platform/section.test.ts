import { describe, expect, it } from 'vitest';

import { defineSection } from '../../platform/section.ts';
import { integer } from '../../platform/shape.ts';

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
