/**
 * VFIO_DEVICE_FEATURE_DMA_BUF (vfio_pci_core_feature_dma_buf, 6.19; P2P-9): the checks of a request
 * for a dma-buf over parts of a BAR. NOT MODELLED: the dma-buf. Nothing here could import it, so a
 * request that a kernel would serve is EOPNOTSUPP.
 */
import { einval, enodev, eopnotsupp, eoverflow } from '../../../../platform/errno.ts';
import { hex, hexRange } from '../../../../platform/hex.ts';
import { DeviceFeature, DeviceFeatureDmaBuf, RegionDmaRange, VFIO_PCI_ROM_REGION_INDEX } from '../../../abi/vfio.ts';
import { U64_END, type UserArg } from '../../core/user-arg.ts';
import type { Bar } from './resources.ts';

const PAGE_MASK = 0xfffn;
/** DMA_IOVA_USE_SWIOTLB: a bit of the length that the kernel keeps for itself. */
const LENGTH_END = 1n << 63n;

interface Range {
  readonly offset: bigint;
  readonly length: bigint;
}

/** Makes the kernel's checks in the kernel's order. EOPNOTSUPP after the last check. */
export function getDmaBuf(arg: UserArg, bars: readonly (Bar | undefined)[]): never {
  const request = arg.read(DeviceFeatureDmaBuf, DeviceFeature.size);
  const { region_index: region, flags, nr_ranges: nrRanges } = request;
  if (nrRanges === 0 || flags !== 0) throw einval(`dma-buf of ${nrRanges} ranges, flags ${hex(flags)}`);
  if (region >= VFIO_PCI_ROM_REGION_INDEX) throw enodev(`region ${region} is no BAR`);
  const ranges = readRanges(arg, nrRanges);
  checkRanges(ranges);
  const bar = bars[region];
  if (bar?.space !== 'memory') throw einval(`region ${region} is no memory BAR`);
  for (const range of ranges) checkInside(range, bar);
  throw eopnotsupp('there are no dma-bufs here');
}

/** Reads the ranges. EFAULT when the caller's memory has fewer. */
function readRanges(arg: UserArg, nrRanges: number): readonly Range[] {
  const first = DeviceFeature.size + DeviceFeatureDmaBuf.size;
  arg.copyIn(nrRanges * RegionDmaRange.size, first);
  return Array.from({ length: nrRanges }, (_, i) => arg.read(RegionDmaRange, first + i * RegionDmaRange.size));
}

/** validate_dmabuf_input */
function checkRanges(ranges: readonly Range[]): void {
  let total = 0n;
  for (const { offset, length } of ranges) {
    if (length === 0n || ((offset | length) & PAGE_MASK) !== 0n)
      throw einval(`dma-buf: range ${hexRange(offset, length)}`);
    total += length;
  }
  if (total >= LENGTH_END) throw einval('dma-buf: too long');
}

/** vfio_pci_core_fill_phys_vec */
function checkInside({ offset, length }: Range, bar: Bar): void {
  const start = BigInt(bar.start) + offset;
  if (start >= U64_END || start + length >= U64_END)
    throw eoverflow(`dma-buf: range ${hexRange(offset, length)} wraps`);
  if (offset + length > BigInt(bar.size)) throw einval(`dma-buf: range ${hexRange(offset, length)} is not in the BAR`);
}
