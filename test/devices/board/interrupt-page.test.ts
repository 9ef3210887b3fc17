import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Board, startHost } from '../../../devices/board/host.ts';
import { ClientProcess } from '../clients/client-process.ts';

const THREADS = ['away', 'runs', 'sleeps'];

/** Clients as real processes; the scenarios are in ../clients/interrupt-page.ts. */
describe('interrupts by a page that client and device share', () => {
  let dir: string;
  let board: Board;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'livevmm-interrupt-page-'));
    const edu = { type: 'edu', properties: { addr: '4' } };
    board = await startHost({ devices: [edu], socketPath: join(dir, 'host'), firstGroup: 1, kernelRamBytes: 16 << 20 });
  });
  afterAll(async () => {
    await board.stop();
    rmSync(dir, { recursive: true });
  });

  const start = (...words: readonly string[]): ClientProcess =>
    new ClientProcess('interrupt-page', join(dir, 'host'), ...words);

  async function says(...words: readonly string[]): Promise<unknown> {
    const client = start(...words);
    try {
      return await client.says();
    } finally {
      await client.end();
    }
  }

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
