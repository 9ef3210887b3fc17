import { describe, expect, it } from 'vitest';

import { Random } from '../../../tools/stress/random.ts';

const draw = (random: Random, nr = 20): number[] => Array.from({ length: nr }, () => random.next());

describe('Random', () => {
  it('gives the same numbers for the same words, and others for others', () => {
    expect(draw(Random.of(7, 'mapper', 0))).toEqual(draw(Random.of(7, 'mapper', 0)));
    expect(draw(Random.of(7, 'mapper', 0))).not.toEqual(draw(Random.of(7, 'mapper', 1)));
    expect(draw(Random.of(7, 'mapper', 0))).not.toEqual(draw(Random.of(71, 'mapper', 0)));
  });

  it('goes on from a saved state, which survives JSON', () => {
    const random = Random.of(1);
    draw(random);
    const copy = new Random(JSON.parse(JSON.stringify(random.save())));
    expect(draw(copy)).toEqual(draw(random));
  });

  it('stays in its bounds and reaches them', () => {
    const random = Random.of(2);
    const drawn = new Set(Array.from({ length: 400 }, () => random.between(3, 6)));
    expect([...drawn].sort()).toEqual([3, 4, 5, 6]);
  });

  it('chooses by weight, and never what weighs nothing', () => {
    const random = Random.of(3);
    const choices = [
      [9, 'often'],
      [1, 'seldom'],
      [0, 'never'],
    ] as const;
    const drawn = Array.from({ length: 2000 }, () => random.weighted(choices));
    const seldom = drawn.filter((choice) => choice === 'seldom').length;
    expect(drawn).not.toContain('never');
    expect(seldom).toBeGreaterThan(120);
    expect(seldom).toBeLessThan(300);
  });
});
