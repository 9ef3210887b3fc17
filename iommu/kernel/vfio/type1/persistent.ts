/**
 * A container whose page tables outlive the kernel (PKF-2…6). It has one domain, whose tables lie
 * in the file that SET_PERSISTENT_PGTABLES has named. MAP_DMA with LIVE_UPDATE makes an entry of
 * translations that are there already: it pins and charges, and writes no table.
 *
 * Strict, the default, compares the tables with the request first. `rfc` does as the RFC did.
 */
import { ebusy, eexist, einval, SysError } from '../../../../platform/errno.ts';
import { hex } from '../../../../platform/hex.ts';
import type { Sliced } from '../../../../platform/slices.ts';
import type { Task } from '../../core/task.ts';
import type { IommuDomain, PersistentDomain } from '../../driver/domain.ts';
import type { IommuGroup } from '../container-iommu.ts';
import type { DmaEntry } from './dma-entry.ts';
import { pinEach } from './pin-map.ts';
import type { VfioIommu } from './vfio-iommu.ts';

/**
 * The domain that a group joins: the container's, or the one of its file. EBUSY: mediated devices
 * have mapped already; EBUSY, EINVAL, EIO as IommuDevice.allocPersistentDomain.
 */
export function persistentDomainFor(iommu: VfioIommu, { id, iommuDevice }: IommuGroup): PersistentDomain {
  if (iommu.persistentDomain) return iommu.persistentDomain;
  if (iommu.nrEntries > 0) throw ebusy(`group ${id}: mediated devices have mapped in the container already`);
  return iommuDevice!.allocPersistentDomain(iommu.tables!);
}

/** One file serves one domain (PKF-5): a unit that cannot use the container's is EBUSY. */
export function enterPersistent(group: IommuGroup, domain: IommuDomain): void {
  try {
    for (const did of group.dids) group.iommuDevice!.attach(did, domain);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    throw ebusy(`group ${group.id} needs another domain, and one file serves one domain: ${error.message}`);
  }
}

/** MAP_DMA with LIVE_UPDATE. EINVAL: the container has no persistent tables, or no domain yet. */
export function checkLiveUpdate(iommu: VfioIommu): void {
  if (iommu.persistence === 'strict' && !iommu.persistentDomain) {
    throw einval('MAP_DMA LIVE_UPDATE: the container has no domain with persistent page tables');
  }
}

/**
 * MAP_DMA without LIVE_UPDATE. EEXIST over a persistent translation that nobody has claimed. In
 * `rfc` the tables are written anew there: until that is done, DMA faults (PKF-4).
 */
export function checkUnclaimed({ persistence, persistentDomain }: VfioIommu, vpn: number, nrPages: number): void {
  if (!persistentDomain?.mapsAny(vpn, nrPages)) return;
  if (persistence === 'rfc') {
    persistentDomain.unmap(vpn, nrPages);
    persistentDomain.flush();
    return;
  }
  throw eexist(
    `iova page ${hex(vpn)}+${hex(nrPages)}: the persistent tables have a translation there: LIVE_UPDATE takes it`,
  );
}

/**
 * PKF-3: pins an entry run by run and finds each run in the tables. ENOENT, EINVAL, ESTALE, EACCES
 * as PersistentDomain.checkMapped; on an error nothing is pinned, and the tables are as they were.
 * In `rfc` nothing is compared, and an error of the pinning removes the translations.
 */
export function pinAndClaim(iommu: VfioIommu, entry: DmaEntry, task: Task): Sliced<void> {
  const strict = iommu.persistence === 'strict';
  entry.leavesTables = strict;
  return pinEach(iommu, entry, task, (vpn, run) => {
    if (strict) iommu.persistentDomain!.checkMapped(vpn, run, entry.prot, entry);
    return undefined;
  });
}
