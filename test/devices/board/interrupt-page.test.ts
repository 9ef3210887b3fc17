import { describe, expect, it } from 'vitest';

import { scriptedClients } from '../clients/scripted.ts';

const THREADS = ['away', 'runs', 'sleeps'];

/** Clients as real processes; the scenarios are in ../clients/interrupt-page.ts. */
describe('interrupts by a page that client and device share', () => {
  const { start, says } = scriptedClients('interrupt-page');

  it.each(THREADS)('are signalled after an exec if nobody has taken them; the thread was %s', async (thread) => {
    expect(await says('exec', thread)).toEqual({ before: 5, after: 1 });
  });

  it('go on for the next client after some that died, whatever their threads did', async () => {
    for (const thread of THREADS) expect(await start('die', thread).ended).toEqual([null, 'SIGKILL']);

    expect(await says('interrupts')).toBe(5);
  });

  it('go on after a client that scribbled on its page and died', async () => {
    expect(await says('scribble')).toBe(0x010000ed);

    expect(await says('interrupts')).toBe(5);
  });
});
