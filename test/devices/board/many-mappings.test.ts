import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, it } from 'vitest';

import { type Board, startHost } from '../../../devices/board/host.ts';
import { ClientProcess } from '../clients/client-process.ts';

const NR_MAPPINGS = 15_000;

let dir: string;
let board: Board;
let hog: ClientProcess;
let onlooker: ClientProcess;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'livevmm-many-'));
  const devices = [{ type: 'edu', properties: {} }];
  const socketPath = join(dir, 'host');
  board = await startHost({ devices, socketPath, kernelRamBytes: 16 << 20, memlock: 'unlimited' });
  hog = new ClientProcess('many-mappings', socketPath, `${NR_MAPPINGS}`);
  onlooker = new ClientProcess('onlooker', socketPath);
  expect([await hog.says(), await onlooker.says()]).toEqual(['ready', 'ready']);
});
afterEach(async () => {
  await Promise.all([hog.end(), onlooker.end()]);
  await board.stop();
  rmSync(dir, { recursive: true });
});

/**
 * It was 21 s for a MAP_DMA and as long for its end, in which nobody else was answered, and a fd of
 * the host for each mapping.
 */
it('others are answered while one client maps memory of thousands of mappings, and dies with it', async () => {
  hog.goOn();
  await hog.says();
  await hog.ended;
  onlooker.goOn();
  const { answers, longestMs } = (await onlooker.says()) as { answers: number; longestMs: number };

  expect(longestMs).toBeLessThan(3000); // 4 ms where nobody else computes
  expect(answers).toBeGreaterThan(50);
});
