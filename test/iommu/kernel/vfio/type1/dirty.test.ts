import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import {
  Bitmap,
  DirtyBitmap as DirtyBitmapArg,
  DirtyBitmapGet,
  DmaUnmap,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_UNMAP_DMA,
} from '../../../../../iommu/abi/vfio.ts';
import { UserArg } from '../../../../../iommu/kernel/core/user-arg.ts';
import { DirtyBitmap } from '../../../../../iommu/kernel/vfio/type1/dirty-bitmap.ts';
import { errnoOf, RW, TestContainer } from './container.ts';

const PAGE = 4096;
const START = 1;
const STOP = 2;
const GET = 4;

describe('DirtyBitmap', () => {
  it('shifts, sets and clears as a number of 64-bit words does', () => {
    const operation = fc.oneof(
      fc.record({ kind: fc.constant('set' as const), first: fc.nat(199), count: fc.integer({ min: 1, max: 200 }) }),
      fc.record({ kind: fc.constant('shift' as const), first: fc.integer({ min: 1, max: 63 }), count: fc.constant(0) }),
      fc.record({ kind: fc.constantFrom('setAll' as const, 'clearAll' as const), first: fc.nat(1), count: fc.nat(1) }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), fc.array(operation, { maxLength: 20 }), (nrBits, operations) => {
        const bitmap = new DirtyBitmap(nrBits);
        const own = (1n << BigInt(nrBits)) - 1n;
        let model = 0n;
        for (const { kind, first, count } of operations) {
          if (kind === 'set' && first < nrBits) {
            const bits = Math.min(count, nrBits - first);
            bitmap.set(first, bits);
            model |= ((1n << BigInt(bits)) - 1n) << BigInt(first);
          } else if (kind === 'shift') {
            bitmap.shiftLeft(first);
            // The words that nrBits + shift bits need are shifted; a word beyond keeps what it has.
            const words = Math.ceil((nrBits + first) / 64);
            const mask = (1n << BigInt(64 * words)) - 1n;
            model = ((model << BigInt(first)) & mask) | (model & ~mask);
          } else if (kind === 'setAll') {
            bitmap.setAll();
            model |= own;
          } else if (kind === 'clearAll') {
            bitmap.clearAll();
            model &= ~own;
          }
          const bytes = bitmap.bytes(63);
          const value = BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
          expect(value).toBe(model & ((1n << BigInt(8 * bytes.length)) - 1n));
        }
      }),
    );
  });
});

describe('DIRTY_PAGES', () => {
  let container: TestContainer;
  afterEach(() => container.close());

  const call = (arg: Uint8Array | number) => () =>
    container.type1.ioctl(VFIO_IOMMU_DIRTY_PAGES, new UserArg(arg), container.process.task());
  const flag = (flags: number, argsz = 8) => call(DirtyBitmapArg.bytes({ argsz, flags }));

  interface GetOptions {
    readonly iova?: bigint;
    readonly size?: bigint;
    readonly pgsize?: bigint;
    readonly bytes?: bigint;
    readonly data?: bigint;
    readonly argsz?: number;
  }

  function get(
    { iova = 0n, size = 0x10000n, pgsize = 0x1000n, bytes = 8n, data, argsz = 48 }: GetOptions,
    buffer: number,
  ) {
    const arg = new Uint8Array(48);
    const view = new DataView(arg.buffer);
    DirtyBitmapArg.write(view, { argsz, flags: GET });
    const bitmap = { 'bitmap.pgsize': pgsize, 'bitmap.size': bytes, 'bitmap.data': data ?? BigInt(buffer) };
    DirtyBitmapGet.write(view, { iova, size, ...bitmap }, DirtyBitmapArg.size);
    return call(arg);
  }

  /** Entries [1,3) and [6,10) in pages; dirty tracking on; a user buffer of one page. */
  function start(options: ConstructorParameters<typeof TestContainer>[0] = {}): number {
    container = new TestContainer(options);
    const vaddr = container.memory(64 * PAGE);
    container.map(PAGE, 2 * PAGE, vaddr);
    container.map(6 * PAGE, 4 * PAGE, vaddr);
    return container.memory(PAGE);
  }

  const bits = (buffer: number): bigint => {
    const bytes = container.process.space.peek(buffer, 8);
    return new DataView(bytes.buffer).getBigUint64(0, true);
  };

  it.each([
    ['a bad pointer', 0, 'EFAULT'],
    ['argsz 7', DirtyBitmapArg.bytes({ argsz: 7, flags: START }), 'EINVAL'],
    ['no flag', DirtyBitmapArg.bytes({ argsz: 8, flags: 0 }), 'EINVAL'],
    ['two flags', DirtyBitmapArg.bytes({ argsz: 8, flags: START | STOP }), 'EINVAL'],
    ['an unknown flag', DirtyBitmapArg.bytes({ argsz: 8, flags: 8 }), 'EINVAL'],
    ['GET with argsz 47', DirtyBitmapArg.bytes({ argsz: 47, flags: GET }), 'EINVAL'],
    ['GET with the range unreadable', DirtyBitmapArg.bytes({ argsz: 48, flags: GET }), 'EFAULT'],
  ])('DRT-1: %s', (_name, arg, code) => {
    start();
    expect(errnoOf(call(arg))).toBe(code);
  });

  it('DRT-1: v1 is EACCES before anything else', () => {
    start({ v2: false });
    expect(errnoOf(call(0))).toBe('EACCES');
  });

  it('DRT-2: START and STOP may be repeated', () => {
    start();
    expect([START, START, STOP, STOP].map((flags) => errnoOf(flag(flags)))).toEqual(['ok', 'ok', 'ok', 'ok']);
  });

  const wrong: [string, GetOptions, string][] = [
    ['iova + size wraps', { iova: 2n ** 64n - 0x1000n, size: 0x2000n }, 'EINVAL'],
    ['a pointer into the kernel', { data: 0xffff_8000_0000_0000n }, 'EINVAL'],
    ['no bytes', { bytes: 0n }, 'EINVAL'],
    ['more than 256 MiB', { bytes: 0x1000_0008n }, 'EINVAL'],
    ['too few bytes', { size: 0x41000n }, 'EINVAL'],
    ['not the smallest page size', { pgsize: 0x200000n, size: 0x400000n }, 'EINVAL'],
    ['page size 0', { pgsize: 0n }, 'EINVAL'],
    ['iova off a page', { iova: 0x800n }, 'EINVAL'],
    ['size off a page', { size: 0x10800n }, 'EINVAL'],
    ['splits an entry at its start', { iova: 0x2000n }, 'EINVAL'],
    ['splits an entry at its end', { size: 0x2000n }, 'EINVAL'],
    ['a buffer that is not mapped', { data: 0x1000n }, 'EFAULT'],
  ];
  it.each(wrong)('DRT-3: %s', (_name, options, code) => {
    const buffer = start();
    flag(START)();
    expect(errnoOf(get(options, buffer))).toBe(code);
    expect(bits(buffer)).toBe(0n);
  });

  it('DRT-3: tracking off is EINVAL', () => {
    const buffer = start();
    expect(errnoOf(get({}, buffer))).toBe('EINVAL');
  });

  it('DRT-4: with a real device everything mapped is dirty, every time', () => {
    const buffer = start();
    flag(START)();
    get({}, buffer)();
    expect(bits(buffer)).toBe(0b11_1100_0110n);
    const reports = [1, 2].map(() => {
      container.process.space.write(buffer, new Uint8Array(8));
      get({ iova: 0x6000n, size: 0x4000n }, buffer)();
      return bits(buffer) & 0b1111n;
    });
    expect(reports).toEqual([0b1111n, 0b1111n]);
  });

  it('DRT-5: what the user had is kept from the first entry on, bits beyond an entry come back later', () => {
    const buffer = start();
    flag(START)();
    container.process.space.write(buffer, Uint8Array.of(0, 0, 0, 0x80));
    get({}, buffer)();
    expect(bits(buffer)).toBe(0x8000_0000n | 0b11_1100_0110n);
    container.process.space.write(buffer, new Uint8Array(8));
    get({}, buffer)();
    expect(bits(buffer) & ~0b11_1100_0110n).not.toBe(0n);
  });

  it('DRT-4, DRT-6: with mediated devices only pages pinned, until unpinned and reported once more (DRT-7)', async () => {
    const buffer = start({ real: false });
    container.type1.attachGroup(container.emulatedGroup, container.process.task());
    container.type1.registerDevice({ dmaUnmap: () => {} });
    flag(START)();
    await container.type1.pinPages({ group: container.emulatedGroup, vpn: 6, nrPages: 2, prot: RW });
    const report = (): bigint => {
      container.process.space.write(buffer, new Uint8Array(8));
      get({ iova: 0x6000n, size: 0x4000n }, buffer)();
      return bits(buffer);
    };
    expect(report()).toBe(0b11n);
    container.type1.unpinPages(6, 1);
    expect(report()).toBe(0b11n);
    expect(report()).toBe(0b10n);
    container.type1.unpinPages(7, 1);
  });

  it('DRT-4: what a mediated device writes is dirty until reported, what it reads is not', async () => {
    const buffer = start({ real: false });
    container.type1.attachGroup(container.emulatedGroup, container.process.task());
    flag(START)();
    const access = (vpn: number, write: boolean) =>
      container.type1.dmaRw({ vpn, offset: PAGE - 1, data: new Uint8Array(2), write });
    await access(6, true);
    await access(8, false);
    const report = (): bigint => {
      container.process.space.write(buffer, new Uint8Array(8));
      get({ iova: 0x6000n, size: 0x4000n }, buffer)();
      return bits(buffer);
    };
    expect([report(), report()]).toEqual([0b11n, 0n]);
  });

  it('ATT-9: a group that leaves without having pinned may have written anything', async () => {
    const buffer = start();
    container.type1.attachGroup(container.emulatedGroup, container.process.task());
    flag(START)();
    container.type1.detachGroup(container.realGroup);
    const reports = [1, 2].map(() => {
      container.process.space.write(buffer, new Uint8Array(8));
      get({ iova: 0x6000n, size: 0x4000n }, buffer)();
      return bits(buffer);
    });
    expect(reports).toEqual([0b1111n, 0n]);
  });

  it('DRT-6: real groups that pin narrow what is dirty to what they have pinned, once each of them has', async () => {
    const buffer = start();
    const other = container.group(2, [0x30]);
    container.type1.attachGroup(other, container.process.task());
    container.type1.registerDevice({ dmaUnmap: () => {} });
    flag(START)();
    const dirty = (): bigint => {
      container.process.space.write(buffer, new Uint8Array(8));
      get({ iova: 0x6000n, size: 0x4000n }, buffer)();
      return bits(buffer);
    };
    const pin = (group: typeof other, vpn: number) => container.type1.pinPages({ group, vpn, nrPages: 1, prot: RW });
    await pin(container.realGroup, 7);
    await pin(container.realGroup, 7);
    expect(dirty()).toBe(0b1111n);
    await pin(other, 9);
    expect([dirty(), dirty()]).toEqual([0b1010n, 0b1010n]);
    container.type1.unpinPages(7, 1);
    container.type1.unpinPages(7, 1);
    container.type1.unpinPages(9, 1);
    container.type1.detachGroup(other);
    expect([dirty(), dirty()]).toEqual([0b1010n, 0n]); // it had pinned what it wrote to
  });

  it('DRT-2: START counts the pages that are pinned already', async () => {
    const buffer = start({ real: false });
    container.type1.attachGroup(container.emulatedGroup, container.process.task());
    container.type1.registerDevice({ dmaUnmap: () => {} });
    await container.type1.pinPages({ group: container.emulatedGroup, vpn: 7, nrPages: 1, prot: RW });
    flag(START)();
    get({ iova: 0x6000n, size: 0x4000n }, buffer)();
    expect(bits(buffer)).toBe(0b10n);
    container.type1.unpinPages(7, 1);
  });

  describe('UNMAP_DMA with GET_DIRTY_BITMAP', () => {
    function unmap(iova: bigint, size: bigint, data: bigint, pgsize = 0x1000n) {
      const arg = new Uint8Array(48);
      const view = new DataView(arg.buffer);
      DmaUnmap.write(view, { argsz: 48, flags: 1, iova, size });
      Bitmap.write(view, { pgsize, size: 8n, data }, DmaUnmap.size);
      return () => container.type1.ioctl(VFIO_IOMMU_UNMAP_DMA, new UserArg(arg), container.process.task());
    }

    it('UNM-5: is EINVAL while tracking is off, and for another page size than the smallest', () => {
      const buffer = BigInt(start());
      expect(errnoOf(unmap(0n, 0x10000n, buffer))).toBe('EINVAL');
      flag(START)();
      expect(errnoOf(unmap(0n, 0x20_0000n, buffer, 0x20_0000n))).toBe('EINVAL');
      expect(container.type1.stats.mappings).toBe(2);
      expect(errnoOf(unmap(0n, 0x10000n, buffer))).toBe('ok');
      expect(container.type1.stats.mappings).toBe(0);
    });

    it('UNM-12: gives the bits of each entry just before it goes; EFAULT stops there', () => {
      const buffer = start();
      flag(START)();
      unmap(0x1000n, 0x2000n, BigInt(buffer))();
      expect([bits(buffer), container.type1.stats.mappings]).toEqual([0b11n, 1]);
      expect(errnoOf(unmap(0n, 0x10000n, 0x1000n))).toBe('EFAULT');
      expect(container.type1.stats.mappings).toBe(1);
    });
  });
});
