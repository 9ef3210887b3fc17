/** VFIO_IOMMU_GET_INFO with its capability chain (NUM-6…8), and CHECK_EXTENSION (ST-2). */
import { einval } from '../../../../platform/errno.ts';
import { Type1InfoCapReservedMsi, VFIO_IOMMU_TYPE1_INFO_CAP_RESERVED_MSI } from '../../../abi/reserved-msi.ts';
import {
  IovaRange,
  Type1Info,
  Type1InfoCapIovaRange,
  Type1InfoCapMigration,
  Type1InfoDmaAvail,
  VFIO_DMA_CC_IOMMU,
  VFIO_IOMMU_INFO_CAPS,
  VFIO_IOMMU_INFO_PGSIZES,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1_NESTING_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  VFIO_UNMAP_ALL,
  VFIO_UPDATE_VADDR,
} from '../../../abi/vfio.ts';
import type { Profile } from '../../core/profile.ts';
import type { UserArg } from '../../core/user-arg.ts';
import { MAX_BITMAP_BYTES } from './dirty.ts';
import { windowsOf } from './msi-window.ts';
import type { VfioIommu } from './vfio-iommu.ts';

const MIN_ARGSZ = Type1Info.offset.cap_offset;
const VERSION = 1;

export function getInfo(iommu: VfioIommu, arg: UserArg): void {
  const argsz = arg.copyIn(MIN_ARGSZ).getUint32(Type1Info.offset.argsz, true);
  if (argsz < MIN_ARGSZ) throw einval('IOMMU_GET_INFO: argsz is below 16');
  const caps = capabilities(iommu);
  const needed = Type1Info.size + caps.length;
  const fits = argsz >= needed;
  if (fits) arg.copyOut(Type1Info.size, caps);
  const info = Type1Info.bytes({
    argsz: fits ? argsz : needed,
    flags: VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS,
    iova_pgsizes: iommu.pgsizeBitmap,
    cap_offset: fits ? Type1Info.size : 0,
  });
  arg.copyOut(0, info.subarray(0, infoBytes(argsz, iommu.profile)));
}

/**
 * NUM-7: older kernels know the struct with and without cap_offset. Newer kernels write as much of
 * it as argsz says.
 */
function infoBytes(argsz: number, { infoBytes: most }: Profile): number {
  if (most === Type1Info.size) return Math.min(argsz, most);
  return argsz >= most ? most : MIN_ARGSZ;
}

/**
 * NUM-7: the capabilities MIGRATION, DMA_AVAIL and IOVA_RANGE, and our RESERVED_MSI. Each `next`
 * counts from the start of the info struct.
 */
function capabilities(iommu: VfioIommu): Uint8Array {
  const chain = [migration(iommu), dmaAvail(iommu)];
  if (iommu.validIova.length > 0) chain.push(iovaRanges(iommu));
  if (windowsOf(iommu).length > 0) chain.push(reservedMsi(iommu));
  const align = iommu.profile.infoCapAlign;
  const sizes = chain.map((cap) => Math.ceil(cap.length / align) * align);
  const caps = new Uint8Array(sizes.reduce((sum, size) => sum + size));
  let at = 0;
  for (const [i, cap] of chain.entries()) {
    const next = at + sizes[i]!;
    const isLast = i === chain.length - 1;
    caps.set(cap, at);
    new DataView(caps.buffer).setUint32(at + Type1InfoDmaAvail.offset.next, isLast ? 0 : Type1Info.size + next, true);
    at = next;
  }
  return caps;
}

const migration = (iommu: VfioIommu): Uint8Array =>
  Type1InfoCapMigration.bytes({
    id: VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
    version: VERSION,
    pgsize_bitmap: iommu.pgsize,
    max_dirty_bitmap_size: MAX_BITMAP_BYTES,
  });

const dmaAvail = (iommu: VfioIommu): Uint8Array =>
  Type1InfoDmaAvail.bytes({ id: VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, version: VERSION, avail: iommu.dmaAvail });

/** NUM-10. The board has one doorbell, so a page is enough. */
const reservedMsi = (iommu: VfioIommu): Uint8Array =>
  Type1InfoCapReservedMsi.bytes({
    id: VFIO_IOMMU_TYPE1_INFO_CAP_RESERVED_MSI,
    version: VERSION,
    size: iommu.pgsize,
    alignment: iommu.pgsize,
  });

function iovaRanges({ validIova }: VfioIommu): Uint8Array {
  const size = Type1InfoCapIovaRange.size + validIova.length * IovaRange.size;
  const cap = Type1InfoCapIovaRange.bytes(
    { id: VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, version: VERSION, nr_iovas: validIova.length },
    size,
  );
  const view = new DataView(cap.buffer);
  for (const [i, { vpn, end }] of validIova.entries()) {
    const range = { start: BigInt(vpn) << 12n, end: (BigInt(end) << 12n) - 1n };
    IovaRange.write(view, range, Type1InfoCapIovaRange.size + i * IovaRange.size);
  }
  return cap;
}

/** ST-2; `iommu` is absent before SET_IOMMU. */
export function checkExtension(profile: Profile, extension: number, iommu?: VfioIommu): number {
  switch (extension) {
    case VFIO_TYPE1_IOMMU:
    case VFIO_TYPE1v2_IOMMU:
    case VFIO_UNMAP_ALL:
      return 1;
    case VFIO_TYPE1_NESTING_IOMMU:
      return profile.nesting ? 1 : 0;
    case VFIO_UPDATE_VADDR:
      if (profile.updateVaddr === 'always') return 1;
      return iommu && iommu.emulatedGroups.length === 0 ? 1 : 0;
    case VFIO_DMA_CC_IOMMU:
      return iommu?.domains.every(({ domain }) => domain.coherent) ? 1 : 0;
    default:
      return 0;
  }
}
