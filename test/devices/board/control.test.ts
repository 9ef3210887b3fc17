import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { type Board, startHost } from '../../../devices/board/host.ts';
import type { ControlRequest } from '../../../iommu/abi/control.ts';
import { ClientProcess } from '../clients/client-process.ts';

const EDU = '0000:00:02.0';
const CAPTURE = '0000:00:03.0';
const NOBODY = '0000:00:1f.0';

describe('the devices of a host, asked by its control device', () => {
  let dir: string;
  let board: Board;
  let client: ClientProcess | undefined;

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'livevmm-control-'));
    const devices = [
      { type: 'edu', properties: { pcie: 'on' } },
      { type: 'capture', properties: {} },
    ];
    board = await startHost({ devices, socketPath: join(dir, 'host'), kernelRamBytes: 16 << 20 });
  });
  afterEach(async () => {
    await client?.end();
    await board.stop();
    rmSync(dir, { recursive: true });
  });

  async function answersTo(...requests: readonly ControlRequest[]): Promise<unknown[]> {
    client = new ClientProcess('control', join(dir, 'host'), ...requests.map((request) => JSON.stringify(request)));
    const answers: unknown[] = [];
    for (const _ of requests) answers.push(await client.says());
    return answers;
  }

  it('halt when they are told to stop, and only the one that was meant', async () => {
    expect(await answersTo({ op: 'stop-device', bdf: CAPTURE })).toEqual([{}]);
    expect(board.info().devices.map(({ state }) => state)).toEqual(['running', 'halted']);
  });

  it('take a defect only if they have it', async () => {
    const answers = await answersTo(
      { op: 'inject', defect: 'corrupt-frame', bdf: CAPTURE },
      { op: 'inject', defect: 'corrupt-frame', bdf: EDU },
      { op: 'inject', defect: 'drop-interrupt', bdf: EDU },
      { op: 'inject', defect: 'drop-interrupt', bdf: NOBODY },
      { op: 'inject', defect: 'uncorrectable-error', bdf: EDU },
      { op: 'inject', defect: 'uncorrectable-error', bdf: CAPTURE },
    );
    expect(answers).toEqual([
      {},
      { code: 'EINVAL', message: expect.stringContaining("edu: no defect 'corrupt-frame'") },
      {},
      { code: 'ENODEV', message: expect.stringContaining(`no device ${NOBODY}`) },
      {},
      { code: 'EINVAL', message: expect.stringContaining("capture: no defect 'uncorrectable-error'") },
    ]);
  });

  it('have done no DMA as long as nobody asked for any', async () => {
    const [timeline] = await answersTo({ op: 'timeline', bdf: CAPTURE, fromNs: 0, toNs: 1e18 });
    expect(timeline).toMatchObject({ buckets: [] });
  });
});
