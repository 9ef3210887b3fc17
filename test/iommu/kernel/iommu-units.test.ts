import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { type Board, startHost } from '../../../devices/board/host.ts';
import { ClientProcess } from '../../devices/clients/client-process.ts';

const UNITS = [
  { name: 'plain', properties: {} },
  { name: 'equal', properties: {} },
  { name: 'coherent', properties: { coherent: 'on', 'aperture-bits': '36', 'max-pgsize': '2M' } },
  { name: 'translated', properties: { msi: 'translated' } },
  { name: 'huge', properties: { pgsize: '2M' } },
  { name: 'donated', properties: { msi: 'donated' } },
];
const edu = (iommu: string) => ({
  type: 'edu',
  properties: { iommu, 'dma-latency-ms': '0', 'dma-mask': '0xffffffffffffffff' },
});
const capture = (iommu: string) => ({ type: 'capture', properties: { iommu } });
/** In the order of their groups: 0 … 7. */
const DEVICES = [...UNITS.map(({ name }) => edu(name)), capture('plain'), capture('coherent')];

const BELOW_MSI = '0-fedfffff';

/** Clients as real processes; the scenarios are in test/devices/clients/iommu-units.ts. */
describe('a container with groups behind several IOMMU units', () => {
  let dir: string;
  let board: Board;
  const clients: ClientProcess[] = [];

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'livevmm-units-'));
    const socketPath = join(dir, 'host');
    board = await startHost({
      devices: DEVICES,
      units: UNITS,
      socketPath,
      kvemuGroups: [8],
      profile: '6.12',
      kernelRamBytes: 48 << 20,
    });
  });
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.end()));
  });
  afterAll(async () => {
    await board.stop();
    rmSync(dir, { recursive: true });
  });

  function run(scenario: string): Promise<unknown> {
    const client = new ClientProcess('iommu-units', join(dir, 'host'), scenario);
    clients.push(client);
    return client.says();
  }

  it('ATT-2: has one domain for equal units; what is unmapped neither of them reaches', async () => {
    expect(await run('merge')).toEqual({
      unchanged: true,
      works: [true, true],
      after: [false, false],
      faulted: [true, true],
    });
  });

  it('ATT-3, ATT-6, ST-2: replays all mappings to a unit of another kind, and knows only what all can', async () => {
    expect(await run('replay-and-detach')).toEqual({
      alone: [0, { pgsizes: '40201000', ranges: [BELOW_MSI, 'fef00000-7fffffffff'] }],
      both: [0, { pgsizes: '201000', ranges: [BELOW_MSI, 'fef00000-fffffffff'] }],
      replayed: true,
      beyond: 'EINVAL',
      later: ['done', true],
      rest: [1, { pgsizes: '201000', ranges: [BELOW_MSI, 'fef00000-fffffffff'] }, true],
    });
  });

  it('ATT-8: has a wider aperture when the group with the narrow one has left', async () => {
    expect(await run('detach-widens')).toEqual({
      narrow: 'EINVAL',
      wide: 'done',
      info: { pgsizes: '40201000', ranges: [BELOW_MSI, 'fef00000-7fffffffff'] },
    });
  });

  it('ATT-1: refuses a group whose aperture or reserved region conflicts with a mapping, and is as before', async () => {
    expect(await run('conflicts')).toEqual({
      aperture: 'EINVAL',
      reserved: 'EINVAL',
      unchanged: true,
      free: ['done', 'done'],
      ranges: ['0-7ffffff', '8100000-fedfffff', 'fef00000-fffffffff'],
      maps: ['EINVAL', 'EINVAL', 'done'],
    });
  });

  it('ATT-1: that mapped before a real group came refuses those in whose way a mapping is', async () => {
    expect(await run('emulated-first')).toEqual({ fixed: 'EINVAL', narrow: 'EFAULT', wide: 'done' });
  });

  it('ATT-4: gets the MSIs of a unit with a fixed window and of one that translates them', async () => {
    expect(await run('messages')).toEqual([1, 1]);
  });

  it('RSV-1, RSV-3, RSV-5: has MSIs of a unit without a window only once its user donates one', async () => {
    expect(await run('donated-window')).toEqual({
      asked: { size: '4096', alignment: '4096' },
      before: 'EINVAL',
      conflict: 'EEXIST',
      donated: 'done',
      signals: [1, 1, 1],
      unmapped: 4096,
      faults: 0,
      later: 1,
    });
  });

  it('ATT-6: has the largest of the smallest pages, and refuses what is mapped in smaller ones', async () => {
    expect(await run('page-sizes')).toEqual({
      fragment: 'EINVAL',
      whole: 'done',
      reached: true,
      pgsizes: '40200000',
      small: ['EINVAL', 'EINVAL'],
      unmapped: 2 << 20,
    });
  });

  it('UNM-15, RACE-35: no device of any domain changes a byte after UNMAP_DMA has returned', async () => {
    expect(await run('unmap-under-dma')).toEqual({ changed: 0, wrote: true, pinnedPages: 0 });
  });
});
