import { describe, expect, it } from 'vitest';

import { type Case, makeCases, report } from '../differential.ts';
import { onHart } from '../on-hart.ts';

/** Rounds to nearest by frm, or towards 0: so much of it is done in wasm. */
function nearest(of: Case): Case {
  const { format } = of.instruction;
  const rounds = format === 'Rrm' || format === 'unaryrm' || format === 'fma';
  const rm = (of.word >>> 12) & 7;
  return { ...of, frm: 0, word: rounds && rm > 1 ? of.word | 0x7000 : of.word };
}

describe('floating point', () => {
  it.each([101, 102])('has the same results and flags translated as interpreted (seed %i)', (seed) => {
    const cases = makeCases(seed, 40_000)
      .filter(({ instruction }) => /^[FD]$/.test(instruction.extension))
      .map(nearest)
      .slice(0, 2500);
    expect(report(cases, onHart(cases, true))).toEqual(report(cases, onHart(cases, false)));
  });
});
