import { describe, expect, it } from 'vitest';

import { canRingForWords } from '../../platform/rings.ts';
import { scriptedClients } from '../clients/scripted.ts';

/** Clients as real processes; the scenarios are in ../clients/call-page.ts. */
describe('calls by a page that client and host share', () => {
  const { start } = scriptedClients('call-page');

  it('are answered there as on the socket, and reach the file that the fd means now', async () => {
    const said = await Promise.all(['answers', 'fd-again', 'close-by-hand'].map((name) => start(name).says()));

    expect(said).toEqual([
      { answers: [1], answered: 10, second: 'EBUSY' },
      { closed: 'EBADF', identification: 0x010000ed },
      ['EBADF'],
    ]);
  });

  it.skipIf(!canRingForWords)('wake a kernel that sleeps', async () => {
    expect(await start('rests').says()).toEqual({ answers: [1], answered: 10 });
  });

  it('of others go on while a client scribbles on its page, or dies or execs in the middle of a call', async () => {
    const scribbler = start('scribble');
    expect(await scribbler.says()).toBe('scribbling');
    const states = ['posted', 'rung', 'serving', 'done', 'bySocket'];
    const dying = states.map((state) => start('die', state).ended);
    const execs = states.map((state) => start('exec', state).says());
    const others = await start('fd-again').says();

    expect((await Promise.all(dying)).map(([, signal]) => signal)).toEqual(Array(5).fill('SIGKILL'));
    expect(await Promise.all(execs)).toEqual([1, 1, 1, 1, 1]);
    expect(others).toEqual({ closed: 'EBADF', identification: 0x010000ed });
    expect(await start('answers').says()).toMatchObject({ answers: [1] });
  });
});
