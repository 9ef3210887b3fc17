/** The ioctls of a container as an actor makes them. Ranges are in pages of 4 KiB. */
import {
  Bitmap,
  DirtyBitmap,
  DirtyBitmapGet,
  DmaMap,
  DmaUnmap,
  InfoCapHeader,
  IovaRange,
  Type1Info,
  Type1InfoCapIovaRange,
  Type1InfoDmaAvail,
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
  VFIO_IOMMU_UNMAP_DMA,
} from '../../../iommu/abi/vfio.ts';
import { hexRange } from '../../../platform/errno.ts';
import { vaddrOf } from '../../../platform/libc.ts';
import { viewOf } from '../../../platform/struct.ts';
import type { Answer, Caller } from './caller.ts';

const PAGE = 4096;
const INFO_BYTES = 1024;

export interface IovaSpan {
  readonly firstVpn: number;
  readonly endVpn: number;
}

export interface MapRequest {
  readonly vpn: number;
  readonly nrPages: number;
  readonly vaddr: number;
  readonly flags: number;
}

export interface UnmapRequest {
  readonly vpn: number;
  readonly nrPages: number;
  readonly flags: number;
  /** With GET_DIRTY_BITMAP: where the bits go. */
  readonly bitmap?: Uint8Array;
}

export interface Type1Facts {
  readonly dmaAvail: number;
  readonly validIova: readonly IovaSpan[];
}

const iova = (vpn: number): bigint => BigInt(vpn) * BigInt(PAGE);
const span = (vpn: number, nrPages: number): string => hexRange(iova(vpn), nrPages * PAGE);

export class ContainerCalls {
  readonly fd: number;
  readonly #caller: Caller;

  constructor(caller: Caller, fd: number) {
    this.#caller = caller;
    this.fd = fd;
  }

  map({ vpn, nrPages, vaddr, flags }: MapRequest, expected: readonly Answer[]): Answer {
    const size = nrPages * PAGE;
    const arg = DmaMap.bytes({
      argsz: DmaMap.size,
      flags,
      vaddr: BigInt(vaddr),
      iova: iova(vpn),
      size: BigInt(size),
    });
    const text = `MAP ${span(vpn, nrPages)} at 0x${vaddr.toString(16)} flags ${flags}`;
    return this.#caller.expect(text, expected, (client) => client.ioctl(this.fd, VFIO_IOMMU_MAP_DMA, arg));
  }

  /** Pages it removed, or an errno. */
  unmap(request: UnmapRequest, expected: readonly Answer[]): Answer {
    const { vpn, nrPages, flags } = request;
    const arg = unmapArg(request);
    const text = `UNMAP ${span(vpn, nrPages)} flags ${flags}`;
    return this.#caller.expect(text, expected, (client) => {
      client.ioctl(this.fd, VFIO_IOMMU_UNMAP_DMA, arg);
      return Number(DmaUnmap.read(viewOf(arg)).size) / PAGE;
    });
  }

  dirtyTracking(flag: number, expected: readonly Answer[]): Answer {
    const arg = DirtyBitmap.bytes({ argsz: DirtyBitmap.size, flags: flag });
    const call = `DIRTY_PAGES ${flag}`;
    return this.#caller.expect(call, expected, (client) => client.ioctl(this.fd, VFIO_IOMMU_DIRTY_PAGES, arg));
  }

  /** Bit i is page vpn + i. */
  dirtyBitmap(vpn: number, nrPages: number, bitmap: Uint8Array, expected: readonly Answer[]): Answer {
    const argsz = DirtyBitmap.size + DirtyBitmapGet.size;
    const arg = DirtyBitmap.bytes({ argsz, flags: VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP }, argsz);
    const range = {
      iova: iova(vpn),
      size: BigInt(nrPages * PAGE),
      'bitmap.pgsize': BigInt(PAGE),
      'bitmap.size': BigInt(bitmap.length),
      'bitmap.data': BigInt(vaddrOf(bitmap)),
    };
    DirtyBitmapGet.write(viewOf(arg), range, DirtyBitmap.size);
    const text = `GET_BITMAP ${span(vpn, nrPages)}`;
    return this.#caller.expect(text, expected, (client) => client.ioctl(this.fd, VFIO_IOMMU_DIRTY_PAGES, arg));
  }

  facts(): Type1Facts {
    const arg = Type1Info.bytes({ argsz: INFO_BYTES }, INFO_BYTES);
    this.#caller.must('GET_INFO', (client) => client.ioctl(this.fd, VFIO_IOMMU_GET_INFO, arg));
    const view = viewOf(arg);
    let dmaAvail = 0;
    let validIova: IovaSpan[] = [];
    for (let at = Type1Info.read(view).cap_offset; at !== 0; at = InfoCapHeader.read(view, at).next) {
      const { id } = InfoCapHeader.read(view, at);
      if (id === VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL) dmaAvail = Type1InfoDmaAvail.read(view, at).avail;
      if (id === VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) validIova = iovaSpans(view, at);
    }
    return { dmaAvail, validIova };
  }
}

function unmapArg({ vpn, nrPages, flags, bitmap }: UnmapRequest): Uint8Array {
  const argsz = DmaUnmap.size + (bitmap ? Bitmap.size : 0);
  const withBitmap = bitmap ? VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP : 0;
  const fields = { argsz, flags: flags | withBitmap, iova: iova(vpn), size: BigInt(nrPages * PAGE) };
  const arg = DmaUnmap.bytes(fields, argsz);
  if (bitmap) {
    const where = { pgsize: BigInt(PAGE), size: BigInt(bitmap.length), data: BigInt(vaddrOf(bitmap)) };
    Bitmap.write(viewOf(arg), where, DmaUnmap.size);
  }
  return arg;
}

/** The uapi's `end` is a last byte. */
function iovaSpans(view: DataView, at: number): IovaSpan[] {
  const { nr_iovas } = Type1InfoCapIovaRange.read(view, at);
  return Array.from({ length: nr_iovas }, (_, i) => {
    const { start, end } = IovaRange.read(view, at + Type1InfoCapIovaRange.size + i * IovaRange.size);
    return { firstVpn: Number(start >> 12n), endVpn: Number((end + 1n) >> 12n) };
  });
}
