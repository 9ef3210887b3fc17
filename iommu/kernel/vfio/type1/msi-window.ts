/**
 * Windows of iovas that users donate for MSIs (RSV-1…6). A container has one, as an entry of type
 * msi, which lives until the container lets everything go. Each domain that needs a window has it
 * as its own.
 */
import { eexist, einval, enospc } from '../../../../platform/errno.ts';
import { hexRange } from '../../../../platform/hex.ts';
import { overflow } from '../../core/profile.ts';
import type { Task } from '../../core/task.ts';
import { U64_END } from '../../core/user-arg.ts';
import { IOMMU_WRITE, type IommuDomain } from '../../driver/domain.ts';
import type { DonatedWindow } from '../../driver/donated-window.ts';
import { DmaEntry } from './dma-entry.ts';
import type { VfioIommu } from './vfio-iommu.ts';

/** The windows of the domains that need one. */
export const windowsOf = ({ domains }: VfioIommu): DonatedWindow[] =>
  domains.flatMap(({ domain }) => domain.donatedWindow ?? []);

/**
 * MAP_DMA with RESERVED_MSI (RSV-4). EINVAL when no domain needs a window or one has it already,
 * for a range that is not page aligned or not valid; EEXIST over an entry; ENOSPC without a free
 * entry. A failure leaves no domain with the window.
 */
export function donateMsiWindow(iommu: VfioIommu, iova: bigint, size: bigint, task: Task): void {
  const windows = windowsOf(iommu);
  if (windows.length === 0) throw einval('MAP_DMA RESERVED_MSI: no IOMMU of the container needs a window');
  if (size === 0n || ((size | iova) & (iommu.pgsize - 1n)) !== 0n) {
    throw einval(`MAP_DMA RESERVED_MSI: iova ${hexRange(iova, size)} is not page aligned`);
  }
  if (iova + size > U64_END) throw overflow(iommu.profile, `MAP_DMA RESERVED_MSI: ${hexRange(iova, size)} wraps`);
  const vpn = Number(iova >> 12n);
  const nrPages = Number(size >> 12n);
  if (iommu.find(vpn, nrPages)) throw eexist(`iova ${hexRange(iova, size)} overlaps a mapping`);
  if (iommu.dmaAvail === 0) throw enospc('no mapping left of dma_entry_limit');
  if (!iommu.isValidIova(vpn, vpn + nrPages)) throw einval(`iova ${hexRange(iova, size)} is not in a valid range`);
  setAll(windows, vpn, nrPages);
  iommu.dmaAvail--;
  iommu.link(new DmaEntry({ vpn, nrPages, vaddrPage: 0, prot: IOMMU_WRITE, mapper: task, type: 'msi' }));
}

function setAll(windows: readonly DonatedWindow[], vpn: number, nrPages: number): void {
  const done: DonatedWindow[] = [];
  try {
    for (const window of windows) {
      window.set(vpn, nrPages);
      done.push(window);
    }
  } catch (error) {
    for (const window of done) window.clear();
    throw error;
  }
}

/** RSV-3, RSV-6: a new domain that needs a window gets the container's. */
export function giveMsiWindow(domain: IommuDomain, { vpn, nrPages }: DmaEntry): void {
  domain.donatedWindow?.set(vpn, nrPages);
}
