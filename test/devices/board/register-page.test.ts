import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Board, startHost } from '../../../devices/board/host.ts';
import { ClientProcess } from '../clients/client-process.ts';

const STATES = ['posted', 'serving', 'done', 'abandoned'];

/** Clients as real processes; the scenarios are in ../clients/register-page.ts. */
describe('registers by a page that client and device share', () => {
  let dir: string;
  let board: Board;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'livevmm-register-page-'));
    const edu = { type: 'edu', properties: { addr: '4', flr: 'on' } };
    board = await startHost({ devices: [edu], socketPath: join(dir, 'host'), firstGroup: 1, kernelRamBytes: 16 << 20 });
  });
  afterAll(async () => {
    await board.stop();
    rmSync(dir, { recursive: true });
  });

  const start = (...words: readonly string[]): ClientProcess =>
    new ClientProcess('register-page', join(dir, 'host'), ...words);

  async function says(...words: readonly string[]): Promise<unknown> {
    const client = start(...words);
    try {
      return await client.says();
    } finally {
      await client.end();
    }
  }

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
