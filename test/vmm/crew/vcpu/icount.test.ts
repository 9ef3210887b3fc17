/**
 * A guest whose time is counted by instructions runs in the same way each time: whoever executes
 * it, however often its slices end early, and with saves in between.
 */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { cuts, guests, played } from './counted-guest.ts';

describe('a guest whose time is counted by instructions', () => {
  it('runs in the same way whoever executes it, and with saves in between', () => {
    let lines = 0;
    fc.assert(
      fc.property(guests, cuts, (guest, cuts) => {
        const once = played(guest, { accel: 'golden' });
        if (!once) return fc.pre(false); // one of some thousand has broken its own traps
        const again = played(guest, { accel: 'jit', cuts });
        lines += once.printed;
        expect(again?.printed).toBe(once.printed);
        expect(Buffer.compare(again!.ram, once.ram)).toBe(0);
      }),
      { numRuns: 25 },
    );
    expect(lines).toBeGreaterThan(100);
  });
});
