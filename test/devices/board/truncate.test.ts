import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { type Board, startHost } from '../../../devices/board/host.ts';
import { ClientProcess } from '../clients/client-process.ts';

/**
 * Touching a mapped page that is gone is SIGBUS: here it would end the test's own process
 * (docs/DESIGN.md, "Invariants", 6).
 */
describe('a client that truncates memory it has mapped for DMA', () => {
  let dir: string;
  let board: Board;
  let client: ClientProcess;

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'livevmm-truncate-'));
    const devices = [{ type: 'capture', properties: {} }];
    board = await startHost({ devices, socketPath: join(dir, 'host'), kernelRamBytes: 16 << 20 });
  });
  afterEach(async () => {
    await client.end();
    await board.stop();
    rmSync(dir, { recursive: true });
  });

  it.each([
    ['sealable', { refused: 'EPERM', size: 1 << 20, faults: 0 }],
    ['plain', { size: 0, faults: 0 }],
  ])('a %s one: the host lives, and no translation faults', async (kind, outcome) => {
    client = new ClientProcess('truncate', join(dir, 'host'), kind);

    const said = await client.says();
    const [status] = await client.ended;

    expect(said).toEqual(outcome);
    expect(status).toBe(0);
    expect(board.info().devices[0]).toMatchObject({ state: 'running', faults: 0 });
  });
});
