import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Board } from '../../../../devices/board/board.ts';
import { KVEMU_LOG, KvemuLog } from '../../../../iommu/abi/kvemu.ts';
import { VFIO_DEVICE_GET_INFO } from '../../../../iommu/abi/vfio.ts';
import { name } from '../test-client.ts';
import { hostOfTests } from '../test-host.ts';
import { KvemuClient, Memory, READ, RW, UNMAP_ALL, VADDR, WRITE } from './kvemu-client.ts';

/**
 * Mediated devices through the socket of a real host, as the recordings drive them: profile 6.12,
 * where nothing sleeps.
 */

const PAGE = 4096;
const IOVA = 0x10000;

let memory: Memory;

beforeEach(() => {
  memory = new Memory();
});
afterEach(() => memory.free());

const host = hostOfTests({ devices: [{ type: 'edu', properties: {} }], kvemuGroups: [7, 8], profile: '6.12' });

const start = async (iommuType?: number): Promise<KvemuClient> =>
  KvemuClient.open(await host.connect(), 7, 'kvemu.0', iommuType);

const pinned = async ({ client }: KvemuClient): Promise<number> => {
  const control = await client.open('/dev/livevmm');
  const { pinnedPages } = await client.control(control, { op: 'info' });
  await client.close(control);
  return pinnedPages;
};

describe('pin_pages', () => {
  it.each([
    ['no pages', IOVA, 0, RW, '-EINVAL'],
    ['513 pages', IOVA, 513, RW, '-E2BIG'],
    ['all of an entry', IOVA, 4, RW, '4'],
    ['over two entries', IOVA + 3 * PAGE, 2, RW, '2'],
    ['a page beyond the last', IOVA + 6 * PAGE, 2, READ, '-EINVAL'],
    ['a hole', 0, 1, RW, '-EINVAL'],
    ['a right that the entry has not', IOVA + 6 * PAGE, 1, RW, '-EPERM'],
    ['a right that it has', IOVA + 6 * PAGE, 1, READ, '1'],
    ['a range that wraps', 0xffff_ffff_ffff_f000n, 2, RW, '-EINVAL'],
  ])('MDV-1, MDV-2: %s', async (_name, iova, npage, prot, answer) => {
    const user = await start();
    await user.map(memory.vaddr, IOVA, 4 * PAGE);
    await user.map(memory.vaddr + 8 * PAGE, IOVA + 4 * PAGE, 2 * PAGE);
    await user.map(memory.vaddr + 16 * PAGE, IOVA + 6 * PAGE, PAGE, READ);
    expect(await user.pin(iova, npage, prot)).toBe(answer);
    expect(await pinned(user)).toBe(answer.startsWith('-') ? 0 : npage);
  });

  it('MDV-2: EACCES for type1 version 1', async () => {
    const user = await start(1);
    await user.map(memory.vaddr, IOVA, PAGE);
    expect(await user.pin(IOVA, 1)).toBe('-EACCES');
  });

  it('unpins what it has pinned, and only that', async () => {
    const user = await start();
    await user.map(memory.vaddr, IOVA, 4 * PAGE);
    expect(await user.pin(IOVA, 2)).toBe('2');
    expect([await user.unpin(IOVA, 0), await user.unpin(IOVA, 1), await user.unpin(IOVA, 2)]).toEqual([
      '-ENOENT',
      '-ENOENT',
      '0',
    ]);
    expect([await user.unpin(IOVA, 2), await user.unpin(IOVA, 0)]).toEqual(['-ENOENT', '-ENOENT']);
    expect(await pinned(user)).toBe(0);
  });

  it('gives everything back when the device is closed', async () => {
    const user = await start();
    await user.map(memory.vaddr, IOVA, 4 * PAGE);
    await user.pin(IOVA, 2);
    await user.client.close(user.device);
    expect(await pinned(user)).toBe(0);
    expect(await user.unmap(0, 0, UNMAP_ALL)).toBe('0');
  });
});

describe('dma_unmap (UNM-11, MDV-6)', () => {
  it('one callback per entry with pins, with its whole range, in order; the pins are gone', async () => {
    const user = await start();
    for (const i of [0, 1, 2]) await user.map(memory.vaddr + 4 * i * PAGE, IOVA + 4 * i * PAGE, 4 * PAGE);
    await user.pin(IOVA + PAGE, 1);
    await user.pin(IOVA + 7 * PAGE, 2);
    expect(await user.unmap(IOVA, 12 * PAGE)).toBe('0');
    // The second pin reaches into the third entry: it is gone before that one's turn.
    expect(await user.log()).toBe('cb:10000+4000;cb:14000+4000;');
    expect(await user.log()).toBe('');
    expect(await pinned(user)).toBe(0);
  });

  it('KVEMU_LOG says how much room it needs, and keeps the log', async () => {
    const user = await start();
    await user.map(memory.vaddr, IOVA, PAGE);
    await user.pin(IOVA, 1);
    await user.unmap(IOVA, PAGE);
    const arg = KvemuLog.bytes({ argsz: KvemuLog.size });
    expect(name(await user.client.ioctl(user.device, KVEMU_LOG, arg))).toBe('-ENOSPC');
    expect(KvemuLog.read(new DataView(arg.buffer)).argsz).toBe(KvemuLog.size + 'cb:10000+1000;'.length);
    expect(await user.log()).toBe('cb:10000+1000;');
  });
});

describe('dma_rw (MDV-5)', () => {
  it('reads and writes the memory of the process, across entries', async () => {
    const user = await start();
    await user.map(memory.vaddr, IOVA, PAGE);
    await user.map(memory.vaddr + 8 * PAGE, IOVA + PAGE, PAGE);
    expect(await user.write(IOVA + PAGE - 2, [1, 2, 3, 4])).toBe('0');
    expect([...memory.bytes.subarray(PAGE - 2, PAGE), ...memory.bytes.subarray(8 * PAGE, 8 * PAGE + 2)]).toEqual([
      1, 2, 3, 4,
    ]);
    expect(await user.read(IOVA + PAGE - 2, 4)).toEqual([1, 2, 3, 4]);
  });

  it.each([
    ['READ', READ, [7], '-EPERM'],
    ['WRITE', WRITE, '-EPERM', '-EPERM'],
    ['READ|WRITE', RW, [7], '0'],
  ])('a %s mapping', async (_name, flags, reading, writing) => {
    const user = await start();
    memory.bytes[0] = 7;
    await user.map(memory.vaddr, IOVA, PAGE, flags);
    expect([await user.read(IOVA, 1), await user.write(IOVA, [1])]).toEqual([reading, writing]);
  });

  it('nothing at all, a hole, and what comes before a hole', async () => {
    const user = await start();
    await user.map(memory.vaddr, IOVA, PAGE);
    expect([await user.read(IOVA, 0), await user.read(0, 1)]).toEqual(['-EINVAL', '-EINVAL']);
    expect(await user.write(IOVA + PAGE - 1, [5, 6])).toBe('-EINVAL');
    expect(memory.bytes[PAGE - 1]).toBe(5);
  });
});

describe('groups of mediated devices', () => {
  it('ATT-7, MAP-12: their mappings pin nothing', async () => {
    const user = await start();
    expect(await user.map(memory.vaddr, IOVA, 4 * PAGE)).toBe('0');
    expect(await pinned(user)).toBe(0);
    expect(await user.join(0)).toBe('0');
    expect(await pinned(user)).toBe(4);
  });

  it('two of them share a container', async () => {
    const user = await start();
    expect(await user.join(8)).toBe('0');
    await user.map(memory.vaddr, IOVA, PAGE);
    expect(await user.write(IOVA, [3])).toBe('0');
  });

  it('UNM-3: beside one no vaddr can be made invalid', async () => {
    const user = await start();
    await user.map(memory.vaddr, IOVA, PAGE);
    expect(await user.unmap(IOVA, PAGE, VADDR)).toBe('-EBUSY');
  });

  it('a kvemu device answers its own ioctls only, cannot be mapped, and a group number is taken once', async () => {
    const user = await start();
    expect(name(await user.client.ioctl(user.device, VFIO_DEVICE_GET_INFO, new Uint8Array(16)))).toBe('-EINVAL');
    expect(await user.client.request({ op: 'mmap', fd: user.device, offset: 0, length: PAGE, flags: 1 })).toMatchObject(
      { ret: -22 },
    );
    await expect(Board.start({ devices: [], kvemuGroups: [3, 3] })).rejects.toThrow('kvemu: group 3');
  });
});
