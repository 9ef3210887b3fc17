import { beforeEach, describe, expect, it } from 'vitest';

import { DmaMap, DmaUnmap, VFIO_IOMMU_MAP_DMA } from '../../../iommu/abi/vfio.ts';
import { SysError } from '../../../platform/errno.ts';
import { viewOf } from '../../../platform/struct.ts';
import type { DeviceDescription } from '../../../vmm/client/device.ts';
import type { FileCalls } from '../../../vmm/client/task-channel.ts';
import { type PeerBarState, PeerBars, placeBars, unplaced } from '../../../vmm/passthrough/peer-bars.ts';
import { VFIO_SECTION } from '../../../vmm/passthrough/vfio-section.ts';

const CONTAINER = 9;
const SIZE = 0x10_0000;
const GPA = 0x4000_0000;
const NONE = { offset: 0, size: 0 };

/** A device whose BAR 2 is memory. */
const device = (fd: number): DeviceDescription => ({
  ...{
    bdf: `0000:00:0${fd}.0`,
    fd,
    resettable: false,
    config: { offset: 7 * 2 ** 40, size: 256 },
    ...{ msiVectors: 0, msixVectors: 0, rom: { offset: 0, size: 0 } },
  },
  bars: [{ offset: 0, size: 4096 }, NONE, { offset: 2 * 2 ** 40, size: SIZE }, NONE, NONE, NONE],
});
const DEVICES = [device(4), device(5)];

let made: string[];
/** The errno with which MAP_DMA is answered; undefined: it succeeds. */
let refusal: string | undefined;

/** A kernel that notes each MAP_DMA and UNMAP_DMA of the container. */
const calls = {
  ioctl(fd: number, nr: number, arg: Uint8Array) {
    const isMap = nr === VFIO_IOMMU_MAP_DMA;
    const { iova, size } = (isMap ? DmaMap : DmaUnmap).read(viewOf(arg));
    made.push(
      `${fd}: ${isMap ? `map at ${DmaMap.read(viewOf(arg)).vaddr}` : 'unmap'} ${iova.toString(16)}+${size.toString(16)}`,
    );
    if (isMap && refusal !== undefined) throw new SysError(refusal as 'EEXIST', 'refused');
    return 0;
  },
} as unknown as FileCalls;

/** vaddr 0x1000, 0x2000 … in order. */
function mapped(states: readonly PeerBarState[]): PeerBars {
  let vaddr = 0;
  return new PeerBars({ mmap: () => (vaddr += 0x1000) }, CONTAINER, DEVICES, states);
}

const isMemory = (_: DeviceDescription, bar: number) => bar === 2;
const place = (bars: PeerBars, index: number, base?: number): void =>
  placeBars(bars.parts, index, calls, [
    { bar: 0, base: 0x5000_0000 },
    ...(base === undefined ? [] : [{ bar: 2, base }]),
  ]);

describe('BARs of memory that devices reach by DMA', () => {
  let bars: PeerBars;
  beforeEach(() => {
    made = [];
    refusal = undefined;
    bars = mapped(unplaced(DEVICES, isMemory));
  });

  it('are mapped where the guest lets them decode, and unmapped where it does no more', () => {
    place(bars, 1, GPA);
    place(bars, 1, GPA);
    place(bars, 1, GPA + SIZE);
    place(bars, 1);

    expect(made).toEqual([
      '9: map at 8192 40000000+100000',
      '9: unmap 40000000+100000',
      '9: map at 8192 40100000+100000',
      '9: unmap 40100000+100000',
    ]);
  });

  it('of one device do not depend on those of another', () => {
    place(bars, 0, GPA);
    place(bars, 1);

    expect(made).toEqual(['9: map at 4096 40000000+100000']);
    expect(bars.save().map(({ iova }) => iova)).toEqual([GPA, null]);
  });

  it.each(['EEXIST', 'EINVAL', 'ENOSPC'])('are not reached where the kernel refuses them: %s', (code) => {
    refusal = code;

    place(bars, 0, GPA);

    expect(bars.save()[0]).toMatchObject({ iova: null });
    expect(bars.mappings()).toEqual([]);
  });

  it('of a device that goes are unmapped, and survive no update', () => {
    place(bars, 0, GPA);
    place(bars, 1, GPA + SIZE);
    made = [];
    const munmap = (vaddr: number, size: number): void => void made.push(`munmap ${vaddr} ${size}`);
    bars.forget({ ...calls, munmap }, 0);

    expect(made).toEqual(['9: unmap 40000000+100000', `munmap 4096 ${SIZE}`]);
    expect(bars.save()).toEqual([{ device: 1, bar: 2, size: SIZE, iova: GPA + SIZE }]);
    expect(bars.mappings()).toMatchObject([{ iova: GPA + SIZE, vaddr: 8192 }]);
  });

  it('say that the host is gone', () => {
    refusal = 'EPIPE';

    expect(() => place(bars, 0, GPA)).toThrow(expect.objectContaining({ code: 'EPIPE' }));
  });

  it('get the vaddrs of the next image, and are not mapped again there', () => {
    place(bars, 1, GPA);
    const next = mapped(bars.save());

    expect(next.mappings()).toEqual([{ iova: GPA, size: SIZE, vaddr: 0x2000, flags: 4 }]);
    made = [];
    place(next, 1, GPA);
    expect(made).toEqual([]);
  });
});

describe('the section vfio', () => {
  const container = { fd: 3, groups: [], ranges: [{ iova: 0x8000_0000, offset: 0, size: 4096 }] };
  const peerBars = [{ device: 0, bar: 2, size: SIZE, iova: null }];
  const before = { version: 1, container, devices: [] };

  it('of 0.1.0 has no BARs, and is written while none is mapped', () => {
    const state = VFIO_SECTION.of({ container: { ...container, peerBars }, devices: [] });

    expect(VFIO_SECTION.decode(before)).toEqual({ ...before, version: 4, container: { ...container, peerBars: [] } });
    expect(VFIO_SECTION.encode(state, 1)).toEqual(before);
  });

  it('of version 2 knows no MSI-X, and cannot say that a device has it', () => {
    const fields = { bdf: '0000:00:02.0', fd: 4, resettable: true, bars: Array(6).fill({ offset: 0, size: 0 }) };
    const description = { ...fields, config: { offset: 7 * 2 ** 40, size: 256 }, msiVectors: 1 };
    const old = { version: 2, container: null, devices: [{ description, msiEventfds: [5] }] };

    const state = VFIO_SECTION.decode(old);
    const notices = { request: null, error: null, gone: false };
    const now = { ...description, msixVectors: 0, rom: { offset: 0, size: 0 } };
    expect(state.devices).toEqual([{ description: now, msiEventfds: [5], ...notices }]);
    expect(VFIO_SECTION.encode(state, 2)).toEqual(old);
    const [device] = state.devices;
    const withMsix = { ...device!, description: { ...device!.description, msixVectors: 3 } };
    expect(() => VFIO_SECTION.encode({ ...state, devices: [withMsix] }, 2)).toThrow('has MSI-X');
  });

  it('of version 3 knows neither ROM nor REQ, and cannot say that a device is gone', () => {
    const fields = { bdf: '0000:00:02.0', fd: 4, resettable: true, bars: Array(6).fill({ offset: 0, size: 0 }) };
    const description = { ...fields, config: { offset: 7 * 2 ** 40, size: 256 }, msiVectors: 1, msixVectors: 3 };
    const old = { version: 3, container: null, devices: [{ description, msiEventfds: [5] }] };

    const state = VFIO_SECTION.decode(old);
    const [device] = state.devices;
    expect(device).toMatchObject({ request: null, error: null, gone: false });
    expect(VFIO_SECTION.encode({ ...state, devices: [{ ...device!, request: 8, error: 9 }] }, 3)).toEqual(old);
    expect(() => VFIO_SECTION.encode({ ...state, devices: [{ ...device!, gone: true }] }, 3)).toThrow('is unplugged');
  });

  it('cannot be written in the form of 0.1.0 while a BAR is mapped', () => {
    const state = VFIO_SECTION.of({
      container: { ...container, peerBars: [{ ...peerBars[0]!, iova: GPA }] },
      devices: [],
    });

    expect(() => VFIO_SECTION.encode(state, 1)).toThrow(/a BAR is mapped/);
  });
});
