/**
 * A guest is recorded while it is typed to, and replayed by either engine: it is the same guest,
 * however the slices of both end, and wherever they save and go on.
 */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { close } from '../../../../platform/libc/fd.ts';
import { memfdCreate } from '../../../../platform/libc/memfd.ts';
import { ACCELS } from '../../../../vmm/machine/hart-local/hart-local.ts';
import { cuts, guests, type How, played } from './counted-guest.ts';

const typing = fc.array(fc.constantFrom('', '', 'a', 'bc', '\n'), { minLength: 3, maxLength: 40 });
const ways = fc.record({ accel: fc.constantFrom(...ACCELS), cuts });

describe('a guest that is typed to', () => {
  it('is the same again, by either engine, with saves in both', () => {
    let heard = 0;
    fc.assert(
      fc.property(guests, ways, ways, typing, fc.boolean(), (guest, first, second, typed, sleep) => {
        const fd = memfdCreate('livevmm-test');
        const run = (mode: 'record' | 'replay', how: How): ReturnType<typeof played> =>
          played(guest, { ...how, sleep, recording: { fd, path: 'log', mode, start: 0 } });
        try {
          const recorded = run('record', { ...first, typed });
          if (!recorded) return fc.pre(false); // one of some thousand has broken its own traps
          heard += recorded.heard;
          const replayed = run('replay', second);
          expect(replayed?.printed).toBe(recorded.printed);
          expect(Buffer.compare(replayed!.ram, recorded.ram)).toBe(0);
        } finally {
          close(fd);
        }
      }),
      { numRuns: 40 },
    );
    expect(heard).toBeGreaterThan(100);
  });
});
