import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { type Board, startHost } from '../../../devices/board/host.ts';
import { ClientProcess } from '../clients/client-process.ts';

const DEVICES = [
  { type: 'edu', properties: { addr: '4', 'dma-latency-ms': '0', 'dma-mask': '0xffffffff' } },
  { type: 'ivshmem-plain', properties: { addr: '7', size: '1M' } },
  { type: 'pci-testdev', properties: { addr: '8', membar: '64K', 'membar-backed': 'on' } },
  { type: 'edu', properties: { addr: '9', 'dma-latency-ms': '0', 'dma-mask': '0xffffffff' } },
];

/** Clients as real processes; the scenarios are in ../clients/bars.ts. */
describe('BARs of a running host', () => {
  let dir: string;
  let board: Board;
  const clients: ClientProcess[] = [];

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'livevmm-bars-'));
    const socketPath = join(dir, 'host');
    board = await startHost({ devices: DEVICES, socketPath, firstGroup: 1, kernelRamBytes: 16 << 20 });
  });
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.end()));
  });
  afterAll(async () => {
    await board.stop();
    rmSync(dir, { recursive: true });
  });

  function start(scenario: string): ClientProcess {
    const client = new ClientProcess('bars', join(dir, 'host'), scenario);
    clients.push(client);
    return client;
  }

  it('are on the memory map where firmware has put them', () => {
    const { memory } = board.info();

    expect(memory.filter(({ kind }) => kind === 'bar')).toEqual([
      { kind: 'bar', start: 0xfea0_0000, size: 1 << 20 },
      { kind: 'bar', start: 0xfeb0_0000, size: 1 << 16 },
    ]);
  });

  it('that are memory show the same bytes to a mapping and to pread and pwrite, to their very end', async () => {
    expect(await start('same-bytes').says()).toEqual({ throughKernel: [1, 2, 3, 4], end: [5, 6], beyond: 'EINVAL' });
  });

  it('can be mapped shared, in whole pages of the BAR, and nothing else can (PCI-1, PCI-7; vectors: *-mmap, container)', async () => {
    expect(await start('mmap-arguments').says()).toEqual({
      device: [
        'EINVAL', // no length
        'EINVAL', // off a page
        'done',
        'EINVAL',
        'done',
        'EINVAL',
        'EINVAL',
        'EINVAL', // private
        'done', // PROT_NONE
        'done', // a BAR of 256 bytes has a page of its own
        'done',
        'EINVAL',
        'EINVAL', // no such BAR
        'EINVAL', // configuration space
        'EINVAL',
        'EINVAL', // ports
        'done',
      ],
      container: 'ENODEV',
    });
  });

  it('with memory decoding off fault and refuse; on again the same mappings have the same bytes (PCI-7, PCI-8, RACE-16)', async () => {
    expect(await start('memory-off').says()).toEqual({
      off: { load: 'EFAULT', store: 'EFAULT', pread: 'EIO', pwrite: 'EIO' },
      fresh: 'EFAULT',
      on: [[0x5c, 0x5d, 0], [9], [0x5c, 0x5d]],
    });
  });

  it('with memory decoding off end a process that touches them by SIGBUS, and give the device back whole (RACE-22)', async () => {
    const client = start('memory-off-and-touch');

    const before = await client.says();
    const [, signal] = await client.ended;

    expect(before).toEqual([42]);
    expect(signal).toBe('SIGBUS');
    expect(await start('same-bytes').says()).toMatchObject({ throughKernel: [1, 2, 3, 4] });
  });

  it('fault in low power as well, whatever COMMAND says (PCI-8)', async () => {
    expect(await start('low-power').says()).toEqual({ low: ['EFAULT', 'EIO'], stillLow: 'EFAULT', after: [[3], [3]] });
  });

  it('lose their bytes, and the host nothing, when a client cuts off the object behind them', async () => {
    expect(await start('cut-off').says()).toEqual({ bytes: [0, 0], whole: [8, 0], last: [0] });
    expect(board.info().devices.map(({ state }) => state)).toEqual(Array(4).fill('running'));
  });

  it('of registers are read and written through the mapping’s file, one access each (vectors: edu-mmap-access)', async () => {
    expect(await start('registers').says()).toEqual({ data: 0xce, off: 'EIO', raw: 'EFAULT', registers: true });
  });

  it('of ports answer while I/O decoding is on, and otherwise all ones', async () => {
    expect(await start('ports').says()).toEqual({
      io: [4, 1, 0, 0, 0x84, 0, 0, 0],
      off: Array(8).fill(0xff),
      beyond: 'EINVAL',
    });
  });

  it('hold their device and group while a page of them is mapped, though all fds are closed (CORE-9)', async () => {
    expect(await start('mapping-holds-device').says()).toEqual([[7], 'EBUSY', 'EBUSY', 'EBUSY', 'done']);
  });

  it('are let go by the death of a process that had them mapped', async () => {
    const client = start('wait');
    await client.says();
    await client.end();

    expect(await start('mapping-holds-device').says()).toContain('done');
  });

  it('can be mapped for DMA of another device while they answer; the entry stays when they do not, and when they are unmapped and closed (ACC-4, P2P-3, P2P-7)', async () => {
    expect(await start('peer-to-peer').says()).toEqual({
      mapWhileOff: 'EFAULT',
      landed: [0x77, 0x78],
      kept: [0x77, 0x78],
      again: [0x33, 0x34],
      afterClose: [0x55, 0x56],
      afterReopen: [0x57, 0x58],
    });
    const device = board.info().devices.find(({ bdf }) => bdf === '0000:00:04.0')!;
    expect(device).toMatchObject({ faults: 0, unsupported: 1 });
  });

  it('of registers answer another device’s DMA, access by access, while they decode (P2P-3, P2P-7)', async () => {
    const ones = Array(8).fill(0xff);
    const unsupported = () => board.info().devices.find(({ bdf }) => bdf === '0000:00:04.0')!.unsupported;
    const before = unsupported();
    const id = [0xed, 0, 0, 1];

    expect(await start('peer-registers').says()).toEqual({
      id,
      wide: ones, // edu takes 4 bytes here and nothing else
      liveness: [0xfe, 0xfd, 0xfc, 0xfb],
      addresses: Array.from({ length: 16 }, (_, i) => 0xa4 + i),
      bytewise: [0, 0], // edu refuses less than 4 bytes
      itself: id,
      ownLiveness: [0x0f, 0, 0, 0],
      off: [0, 0, 0, 0], // edu has zeros where the bus refuses
      kept: [0xfe, 0xfd, 0xfc, 0xfb],
      again: id,
      low: [0, 0, 0, 0],
      closed: id,
    });
    expect(unsupported() - before).toBe(3);
    expect(board.info().devices.every(({ faults }) => faults === 0)).toBe(true);
  });

  it('of registers answer two devices that read each other’s at once', async () => {
    expect(await start('peers-of-each-other').says()).toEqual([0x0100_00ed]);
  });

  it('leave no fd in the host when nobody has them open', async () => {
    await start('registers').says();
    const before = readdirSync('/proc/self/fd').length;

    await start('registers').says();
    await clients.at(-1)!.ended;

    expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(before);
  });
});
