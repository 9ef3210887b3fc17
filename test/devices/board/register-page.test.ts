import { describe, expect, it } from 'vitest';

import { scriptedClients } from '../clients/scripted.ts';

const STATES = ['posted', 'serving', 'done', 'abandoned'];

/** Clients as real processes; the scenarios are in ../clients/register-page.ts. */
describe('registers by a page that client and device share', () => {
  const { start, says } = scriptedClients('register-page', { flr: 'on' });

  it('see what was stored before, however it went', async () => {
    expect(await says('accesses')).toEqual({ loads: 100, wrong: 0 });
  });

  it('are taken away with memory decoding, by a reset, and by the last close (PCI-8)', async () => {
    const well = { loads: 20, wrong: 0 };
    expect(await says('decoding')).toEqual({ before: well, attentive: 0, refused: 'EIO', after: well });
    expect(await says('reset')).toEqual({ liveness: 0, after: well });
    expect(await says('closes')).toEqual({ attentive: 0, given: 1 });
  });

  it.each(STATES)('have the stores of an image that has gone in the middle of a load: %s', async (state) => {
    expect(await says('exec', state)).toEqual({ stored: ~9 >>> 0, after: { loads: 20, wrong: 0 } });
  });

  it('go on for the next client after some that died in the middle of a load', async () => {
    for (const state of STATES) expect(await start('die', state).ended).toEqual([null, 'SIGKILL']);

    expect(await says('accesses')).toEqual({ loads: 100, wrong: 0 });
  });

  it('go on after a client that scribbled on its page and died', async () => {
    expect(await says('scribble')).toBe(0x010000ed);

    expect(await says('accesses')).toEqual({ loads: 100, wrong: 0 });
  });
});
