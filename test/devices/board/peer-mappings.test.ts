import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { type Board, startHost } from '../../../devices/board/host.ts';
import { inTurn } from '../../turn.ts';
import { ClientProcess } from '../clients/client-process.ts';

const DEVICES = [
  { type: 'edu', properties: { addr: '4', 'dma-latency-ms': '0', 'dma-mask': '0xffffffff' } },
  { type: 'ivshmem-plain', properties: { addr: '7', size: '1M' } },
  { type: 'capture', properties: { addr: '9' } },
];
const SIZE = 0x4000;

/** Of ivshmem's memory, mapped for the DMA of edu in another container; clients/bars.ts. */
describe('a BAR that is mapped for another device', () => {
  let dir: string;
  let board: Board;
  let client: ClientProcess;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'livevmm-peers-'));
  });
  afterEach(async () => {
    await client.end();
    await board.stop();
    rmSync(dir, { recursive: true });
  });

  it.each(
    inTurn([
      {
        what: 'kept: disabled, it does not answer; enabled again or closed, it does (P2P-3, P2P-7)',
        peerMappings: 'kept' as const,
        seen: { on: true, unmapped: SIZE, wasClosed: 6, reopened: true, left: SIZE },
        refused: { unsupported: 1, faults: 0 },
      },
      {
        what: 'closed: as kept, but the last close removes the mapping (P2P-3, P2P-5)',
        peerMappings: 'closed' as const,
        seen: { on: true, unmapped: SIZE, wasClosed: 5, reopened: false, left: 0 },
        refused: { unsupported: 1, faults: 2 },
      },
      {
        what: 'revoked: once disabled or closed, the mapping faults until it is made anew (P2P-9, P2P-10)',
        peerMappings: 'revoked' as const,
        seen: { on: false, unmapped: SIZE, wasClosed: 5, reopened: false, left: SIZE },
        refused: { unsupported: 0, faults: 4 },
      },
    ]),
  )('is $what', async ({ peerMappings, seen, refused }) => {
    board = await startHost({
      ...{ devices: DEVICES, socketPath: join(dir, 'host'), firstGroup: 1, kernelRamBytes: 16 << 20 },
      peerMappings,
    });
    client = new ClientProcess('bars', join(dir, 'host'), 'peer-lifetime');

    expect(await client.says()).toEqual({ mapped: true, wasOff: 1, again: true, notMapped: true, last: true, ...seen });
    expect(board.info().devices[0]).toMatchObject(refused);
  });

  it.each(
    inTurn([
      ['kept', true],
      ['closed', true],
      ['revoked', false],
    ] as const),
  )('is %s: DMA lands after a reset of its device: %s (P2P-9)', async (peerMappings, after) => {
    const devices = [DEVICES[0]!, { type: 'ivshmem-plain', properties: { addr: '7', size: '1M', flr: 'on' } }];
    const socketPath = join(dir, 'host');
    board = await startHost({ devices, socketPath, firstGroup: 1, kernelRamBytes: 16 << 20, peerMappings });
    client = new ClientProcess('bars', socketPath, 'peer-reset');

    expect(await client.says()).toEqual({ before: true, after, again: true });
  });

  it('has the memory of another device, which reaches it while its own decoding is on', async () => {
    const shared = (addr: string) => ({ type: 'ivshmem-plain', properties: { addr, memdev: 'shared' } });
    const devices = [DEVICES[0]!, shared('7'), shared('9')];
    board = await startHost({ devices, socketPath: join(dir, 'host'), firstGroup: 1, kernelRamBytes: 16 << 20 });
    client = new ClientProcess('bars', join(dir, 'host'), 'shared-memory');

    expect(await client.says()).toEqual({ both: [[7], [7]], off: ['EIO', [7]], again: [[9], [9]] });
    expect(board.info().devices[0]).toMatchObject({ unsupported: 1, faults: 0 });
  });

  it.each(inTurn(['kept', 'closed', 'revoked'] as const))(
    'is %s in a storm of DMA, too (P2P-3, P2P-7, P2P-10)',
    async (peerMappings) => {
      board = await startHost({
        ...{ devices: DEVICES, socketPath: join(dir, 'host'), firstGroup: 1, kernelRamBytes: 16 << 20 },
        peerMappings,
      });
      client = new ClientProcess('bars', join(dir, 'host'), 'peer-storm');
      const kept = peerMappings === 'kept';

      expect(await client.says()).toEqual({ refused: 20, resumed: 20, whole: 20, closed: kept, reopened: kept });
      expect(board.info().devices.map(({ state }) => state)).toEqual(['running', 'running', 'running']);
    },
  );
});
