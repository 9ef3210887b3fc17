/** Detaching a group from a container (ATT-8…10). */
import type { Sliced } from '../../../../platform/slices.ts';
import type { IommuDomain } from '../../driver/domain.ts';
import type { IommuGroup } from '../container-iommu.ts';
import { uncharge } from './accounting.ts';
import { markAllDirty } from './dirty.ts';
import { DeferredUnpin, removeAll, unmapEntry } from './pin-map.ts';
import { refreshed } from './valid-iova.ts';
import type { AttachedDomain, AttachedGroup, VfioIommu } from './vfio-iommu.ts';

export function* detachGroup(iommu: VfioIommu, group: IommuGroup): Sliced<void> {
  const attached = iommu.findGroup(group);
  if (!attached) return;
  const emulated = iommu.emulatedGroups.indexOf(attached);
  if (emulated >= 0) {
    iommu.emulatedGroups.splice(emulated, 1);
    if (iommu.emulatedGroups.length === 0 && iommu.domains.length === 0) yield* removeAll(iommu);
  } else {
    yield* detachReal(iommu, attached);
  }
  // ATT-9
  if (attached.pinnedPageDirtyScope) return;
  iommu.nrNonPinnedGroups--;
  if (iommu.dirtyPageTracking) yield* markAllDirty(iommu);
}

/** ATT-8 */
function* detachReal(iommu: VfioIommu, attached: AttachedGroup): Sliced<void> {
  const home = iommu.domains.find(({ groups }) => groups.includes(attached))!;
  if (!iommu.leaving) leave(attached.group, home.domain);
  home.groups.splice(home.groups.indexOf(attached), 1);
  const lastOfDomain = home.groups.length === 0;
  if (lastOfDomain) yield* dropDomain(iommu, home);
  iommu.validIova = refreshed(iommu, lastOfDomain);
}

/** iommu_detach_group */
export function leave({ iommuDevice, dids }: IommuGroup, domain: IommuDomain): void {
  for (const did of dids) iommuDevice!.detach(did, domain);
}

function* dropDomain(iommu: VfioIommu, home: AttachedDomain): Sliced<void> {
  if (iommu.domains.length === 1) {
    if (iommu.emulatedGroups.length === 0) yield* removeAll(iommu);
    else yield* unpinAndReaccount(iommu);
  }
  iommu.domains.splice(iommu.domains.indexOf(home), 1);
  freeDomain(iommu, home.domain);
  iommu.updatePgsizeBitmap();
}

/** A kernel that ends leaves persistent tables to the next one (PKF-6). */
function freeDomain(iommu: VfioIommu, domain: IommuDomain): void {
  const { persistentDomain, leaving } = iommu;
  iommu.persistentDomain = undefined;
  if (leaving && persistentDomain) persistentDomain.abandon();
  else domain.free();
}

/**
 * The entries live on for the mediated devices. Only the pages that these devices have pinned stay
 * charged (RACE-31).
 */
function* unpinAndReaccount(iommu: VfioIommu): Sliced<void> {
  const unpin = new DeferredUnpin(iommu);
  for (const entry of iommu.entries()) {
    const unlocked = yield* unmapEntry(iommu, entry, unpin);
    let locked = 0;
    for (const { run } of entry.externalPins?.values() ?? []) if (!run.reserved) locked++;
    // the pages that drivers have pinned are part of the mapped pages
    uncharge(iommu, entry, unlocked - locked, undefined);
  }
  yield* unpin.flush();
}

/** ATT-10: the driver goes, with all entries, groups and domains. */
export function* release(iommu: VfioIommu): Sliced<void> {
  iommu.emulatedGroups.length = 0;
  yield* removeAll(iommu);
  for (const { domain, groups } of iommu.domains.splice(0)) {
    if (!iommu.leaving) for (const { group } of groups) leave(group, domain);
    freeDomain(iommu, domain);
  }
  iommu.peers.clear();
  iommu.pinner.trim();
}
