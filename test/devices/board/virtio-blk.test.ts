import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Board, startHost } from '../../../devices/board/host.ts';
import { ClientProcess } from '../clients/client-process.ts';
import { DRIVER_OK, NEEDS_RESET } from '../virtio/pci-driver.ts';

const SECTORS = 64;
const SECTOR = 512;

/** A client as a real process; its scenarios are in ../clients/virtio-blk.ts. */
describe('virtio-blk of a board, by VFIO', () => {
  let dir: string;
  let board: Board;
  const disk = (): Buffer => readFileSync(join(dir, 'disk'));
  const sector = (number: number): Buffer => disk().subarray(number * SECTOR, (number + 1) * SECTOR);

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'livevmm-virtio-blk-'));
    writeFileSync(
      join(dir, 'disk'),
      Uint8Array.from({ length: SECTORS * SECTOR }, (_, i) => (i * 31 + (i >> 9)) & 0xff),
    );
    const blk = { type: 'virtio-blk', properties: { addr: '5', drive: join(dir, 'disk') } };
    board = await startHost({ devices: [blk], socketPath: join(dir, 'host'), firstGroup: 1, kernelRamBytes: 16 << 20 });
  });
  afterAll(async () => {
    await board.stop();
    rmSync(dir, { recursive: true });
  });

  async function says(scenario: string): Promise<unknown> {
    const client = new ClientProcess('virtio-blk', join(dir, 'host'), scenario);
    try {
      return await client.says();
    } finally {
      await client.end();
    }
  }

  it('reads and writes sectors of its file, and tells by MSI-X', async () => {
    const ok = [0, true];
    expect(await says('copies')).toEqual({ status: DRIVER_OK, capacity: SECTORS, done: [ok, ok, ok], queues: 1 });
    expect(sector(6)).toEqual(sector(3));
  });

  it('asks for a reset when the IOMMU refuses a buffer or a ring, and works again after one', async () => {
    const broken = DRIVER_OK | NEEDS_RESET;
    expect(await says('faults')).toEqual({
      found: { told: true, status: broken, faults: 1, given: 0 },
      after: [0, true],
      again: broken,
    });
  });

  it('moves nothing and knows no queue after VFIO_DEVICE_RESET, and after the last close', async () => {
    const ended = { kept: true, transactions: 0, registers: [0, 0, 0] };
    expect(await says('ends')).toEqual([ended, ended]);
  });
});
