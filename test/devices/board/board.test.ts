import { readdirSync } from 'node:fs';

import { afterEach, describe, expect, it } from 'vitest';

import { Board } from '../../../devices/board/board.ts';
import type { BoardOptions } from '../../../devices/board/board-options.ts';

const DEVICES: BoardOptions['devices'] = [
  { type: 'edu', properties: { 'dma-latency-ms': '0' } },
  { type: 'capture', properties: {} },
];

describe('board', () => {
  const boards: Board[] = [];
  afterEach(async () => {
    await Promise.all(boards.splice(0).map((board) => board.stop()));
  });

  async function start(options: Partial<BoardOptions> = {}): Promise<Board> {
    const board = await Board.start({ devices: DEVICES, kernelRamBytes: 1 << 20, ...options });
    boards.push(board);
    return board;
  }

  it('knows its devices by slot, with a group, BARs and counters each', async () => {
    const board = await start();

    const { devices } = board.info();

    expect(devices).toMatchObject([
      {
        bdf: '0000:00:02.0',
        name: 'edu',
        group: 0,
        unit: 0,
        state: 'running',
        bars: [{ index: 0, kind: 'registers', start: 0xfea0_0000, size: 1 << 20 }],
        ...{ transactions: 0, bytesRead: 0, bytesWritten: 0, faults: 0, unsupported: 0, interruptsSent: 0 },
        accesses: expect.any(Number),
      },
      { bdf: '0000:00:03.0', name: 'capture', group: 1, state: 'running', bars: [{ index: 0, size: 4096 }] },
    ]);
  });

  it('has kernel RAM, the doorbell page and the registers of its devices in its memory map', async () => {
    const board = await start();

    expect(board.info().memory).toEqual([
      { kind: 'ram', start: 0x1_0000_0000, size: 1 << 20 },
      { kind: 'doorbell', start: 0xfee0_0000, size: 4096 },
      { kind: 'registers', start: 0xfea0_0000, size: 1 << 20 },
      { kind: 'registers', start: 0xfeb0_0000, size: 4096 },
    ]);
  });

  it.each([
    [
      'a type there is not',
      { devices: [{ type: 'nvme', properties: {} }] },
      "no device type 'nvme' (known: edu, capture, ivshmem-plain, pci-testdev, mscribe, virtio-blk, virtio-net, virtio-console, virtio-9p, virtio-rng)",
    ],
    [
      'a property there is not',
      { devices: [{ type: 'capture', properties: { rate: '1' } }] },
      expect.stringMatching(/^capture: unknown property 'rate' \(known: flr, [a-z, ]+\)$/),
    ],
    [
      'a unit there is not',
      { devices: [{ type: 'edu', properties: { iommu: 'x' } }] },
      'edu: iommu=x: expected one of iommu0',
    ],
  ])('refuses %s with EINVAL in one line', async (_what, options, message) => {
    await expect(start(options)).rejects.toMatchObject({ code: 'EINVAL', message });
  });

  it('leaves no thread and no fd after stop, also when it was stopped twice', async () => {
    const count = (what: 'task' | 'fd'): number => readdirSync(`/proc/self/${what}`).length;
    await (await start()).stop(); // whatever a first worker leaves in the process for good
    const before = [count('task'), count('fd')];

    const board = await start();
    const running = count('task');
    await Promise.all([board.stop(), board.stop()]);

    expect(running).toBeGreaterThan(before[0]!);
    expect([count('task'), count('fd')]).toEqual(before);
  });
});
