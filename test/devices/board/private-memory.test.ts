import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { type Board, startHost } from '../../../devices/board/host.ts';
import { ClientProcess } from '../clients/client-process.ts';

const PAGES = 256;

/**
 * The pages of a dead address space stay pinned: a device goes on writing to them, and nobody can
 * look (docs/DESIGN.md, "Memory", ACC-5, ACC-6).
 */
describe('a client that execs with private anonymous memory mapped for DMA', () => {
  let dir: string;
  let board: Board;
  let client: ClientProcess;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'livevmm-private-'));
  });
  afterEach(async () => {
    await client.end();
    await board.stop();
    rmSync(dir, { recursive: true });
  });

  it.each([
    // Charged is whoever is behind the task now: the new image never paid, and unmapping takes it
    // below nothing.
    ['5.12' as const, { afterExec: 0, afterMap: 0, afterUnmap: -PAGES }],
    ['6.2' as const, { afterExec: 0, afterMap: 0, afterUnmap: -PAGES }],
    // The charge is the mapping's, and moves to the new image with MAP_DMA(VADDR).
    ['6.12' as const, { afterExec: 0, afterMap: PAGES, afterUnmap: 0 }],
  ])('ACC-5, ACC-6, %s: DMA goes on, seen by nobody, and the books are right', async (profile, locked) => {
    const devices = [{ type: 'capture', properties: {} }];
    board = await startHost({ devices, socketPath: join(dir, 'host'), kernelRamBytes: 16 << 20, profile });
    client = new ClientProcess('private-memory', join(dir, 'host'));

    const before = await client.says();
    const afterExec = await client.says();
    const afterMap = await client.says();
    const afterUnmap = await client.says();
    const [status] = await client.ended;

    expect(before).toEqual({ written: true, faults: 0, pinned: PAGES, locked: PAGES });
    expect(afterExec).toEqual({ written: false, faults: 0, pinned: PAGES, locked: locked.afterExec });
    expect(afterMap).toEqual({ written: false, faults: 0, pinned: PAGES, locked: locked.afterMap });
    expect(afterUnmap).toEqual({ unmapped: PAGES * 4096, pinned: 0, locked: locked.afterUnmap });
    expect(status).toBe(0);
    expect(board.info().devices[0]).toMatchObject({ state: 'running', faults: 0 });
  });
});
