/** Attaching a group to a container (ATT-1…7). */
import { codeOf, einval, eperm, SysError } from '../../../../platform/errno.ts';
import type { Sliced } from '../../../../platform/slices.ts';
import type { Task } from '../../core/task.ts';
import type { IommuDomain } from '../../driver/domain.ts';
import type { IommuGroup } from '../container-iommu.ts';
import { leave } from './detach.ts';
import { restoreEntries } from './entry-records.ts';
import { enterPersistent, persistentDomainFor } from './persistent.ts';
import { replay } from './replay.ts';
import { refuseInvalid, whenValid } from './vaddr.ts';
import { apertureConflicts, narrowed, reservedBy, reservedConflicts } from './valid-iova.ts';
import type { AttachedGroup, IovaSpan, VfioIommu } from './vfio-iommu.ts';

/**
 * Attaches a group. Returns a promise when the replay is long or sleeps until all vaddrs are valid
 * (VAD-8). On an error the group is not attached.
 */
export function attachGroup(iommu: VfioIommu, group: IommuGroup, task: Task): void | Promise<void> {
  if (!iommu.tables) refuseInvalid(iommu); // nothing is replayed where tables are persistent
  if (iommu.findGroup(group)) throw einval(`group ${group.id} is attached`);
  if (!group.iommuDevice) {
    attachEmulated(iommu, group);
    return;
  }
  // iommu_enable_nesting: not with this IOMMU, as not with VT-d (CORE-3).
  if (iommu.nesting) throw einval(`group ${group.id}: its IOMMU does not nest`);
  if (iommu.tables) {
    return iommu.lock.run(attachPersistent(iommu, group, task), task);
  }
  const domain = group.iommuDevice.allocDomain();
  let validIova: readonly IovaSpan[];
  try {
    enter(group, domain);
    validIova = checkConflicts(iommu, group, domain);
  } catch (error) {
    abandon(group, domain);
    throw error;
  }
  const attached = { group, pinnedPageDirtyScope: false };
  if (mergeInto(iommu, attached, domain)) {
    accept(iommu, validIova);
    return;
  }
  function* finish(): Sliced<void> {
    try {
      yield* replay(iommu, domain, task);
      mapMsiWindow(group, domain);
    } catch (error) {
      abandon(group, domain);
      throw error;
    }
    iommu.domains.unshift({ domain, groups: [attached] });
    iommu.updatePgsizeBitmap();
    accept(iommu, validIova);
  }
  let asleep = true;
  const wake = (): void | Promise<void> => {
    asleep = false;
    return iommu.lock.run(finish(), task);
  };
  const hasInvalid = (): boolean => iommu.vaddrInvalidCount > 0;
  if (!hasInvalid()) return wake();
  return whenValid(iommu, task.killed, hasInvalid, wake).catch((error: unknown) => {
    if (asleep) abandon(group, domain);
    throw error;
  });
}

/** ATT-7 */
function attachEmulated(iommu: VfioIommu, group: IommuGroup): void {
  iommu.emulatedGroups.unshift({ group, pinnedPageDirtyScope: true });
  if (iommu.domains.length === 0) iommu.updatePgsizeBitmap();
}

/**
 * PKF-3, PKF-6: what can be refused is tested before the group's devices enter the domain, because
 * they may be in it already and DMA. On an error the file is as it was.
 */
function* attachPersistent(iommu: VfioIommu, group: IommuGroup, task: Task): Sliced<void> {
  const domain = persistentDomainFor(iommu, group);
  const attached = { group, pinnedPageDirtyScope: false };
  try {
    const validIova = checkConflicts(iommu, group, domain);
    mapMsiWindow(group, domain);
    if (iommu.persistentDomain !== domain) yield* restoreEntries(iommu, domain, task);
    enterPersistent(group, domain);
    accept(iommu, validIova);
  } catch (error) {
    if (iommu.persistentDomain !== domain) domain.abandon();
    throw error;
  }
  if (iommu.persistentDomain === domain) {
    iommu.domains[0]!.groups.unshift(attached);
    return;
  }
  iommu.persistentDomain = domain;
  iommu.domains.unshift({ domain, groups: [attached] });
  iommu.updatePgsizeBitmap();
}

/** The tests of ATT-1, from the aperture on. Returns the new list of valid iovas. */
function checkConflicts(iommu: VfioIommu, group: IommuGroup, domain: IommuDomain): readonly IovaSpan[] {
  const regions = reservedBy(group);
  if (apertureConflicts(iommu, domain)) throw einval(`group ${group.id}: aperture conflicts with mappings`);
  if (reservedConflicts(iommu, regions)) throw einval(`group ${group.id}: a mapping is in a reserved region`);
  const validIova = narrowed(iommu.validIova, domain, regions);
  if (!group.iommuDevice?.isolatedMsi && !iommu.parameters.allowUnsafeInterrupts) {
    throw eperm(`group ${group.id}: no interrupt remapping`);
  }
  return validIova;
}

/**
 * ATT-2: the group joins the newest domain that has the same driver and coherency and tables that
 * the group's unit can use. The new domain is then not needed. Nothing is mapped and no MSI cookie
 * is taken.
 */
function mergeInto(iommu: VfioIommu, attached: AttachedGroup, domain: IommuDomain): boolean {
  const { group } = attached;
  for (const host of iommu.domains) {
    if (host.domain.ops !== domain.ops || host.domain.coherent !== domain.coherent) continue;
    try {
      enter(group, host.domain);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      enter(group, domain); // back
      continue;
    }
    domain.free();
    host.groups.unshift(attached);
    return true;
  }
  return false;
}

/** ATT-4: maps the MSI window, only for groups whose MSIs have no fixed window. */
function mapMsiWindow(group: IommuGroup, domain: IommuDomain): void {
  const regions = reservedBy(group);
  const window = regions.find(({ type }) => type === 'sw-msi');
  if (!window || regions.some(({ type }) => type === 'msi')) return;
  try {
    domain.mapMsiWindow(window.vpn);
  } catch (error) {
    if (codeOf(error) !== 'ENODEV') throw error;
  }
}

/** ATT-6 */
function accept(iommu: VfioIommu, validIova: readonly IovaSpan[]): void {
  iommu.validIova = validIova;
  iommu.nrNonPinnedGroups++;
}

/**
 * iommu_attach_group: moves the devices into the domain, out of their present one. EINVAL when
 * their unit cannot use the domain.
 */
function enter({ iommuDevice, dids }: IommuGroup, domain: IommuDomain): void {
  for (const did of dids) iommuDevice!.attach(did, domain);
}

function abandon(group: IommuGroup, domain: IommuDomain): void {
  leave(group, domain);
  domain.free();
}
