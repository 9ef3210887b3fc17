/**
 * The list of valid iovas: those that all domains can translate and no group has reserved (ATT-1,
 * ATT-8). Spans are [vpn, end).
 */
import { einval } from '../../../../platform/errno.ts';
import type { IommuDomain, ReservedRegion } from '../../driver/domain.ts';
import type { IommuGroup } from '../container-iommu.ts';
import { IOVA_END } from './dma-tree.ts';
import type { IovaSpan, VfioIommu } from './vfio-iommu.ts';

/**
 * ATT-1: true if a domain's aperture is disjoint from the valid list, or if an entry would be
 * outside of the aperture. An unknown list has no conflict.
 */
export function apertureConflicts(iommu: VfioIommu, { apertureVpn: start, apertureEndVpn: end }: IommuDomain): boolean {
  const first = iommu.validIova[0];
  const last = iommu.validIova.at(-1);
  if (!first || !last) return false;
  if (start >= last.end || end <= first.vpn) return true;
  const below = start > first.vpn ? iommu.find(first.vpn, start - first.vpn) : undefined;
  const above = end < last.end ? iommu.find(end, last.end - end) : undefined;
  return below !== undefined || above !== undefined;
}

/** ATT-1: true if an entry lies in a region that the group reserves. */
export function reservedConflicts(iommu: VfioIommu, regions: readonly ReservedRegion[]): boolean {
  return regions.some(
    ({ vpn, nrPages, type }) => type !== 'direct-relaxable' && iommu.find(vpn, nrPages) !== undefined,
  );
}

/**
 * The valid list after `domain` and a group with these regions have been added. EINVAL when nothing
 * is left.
 */
export function narrowed(
  validIova: readonly IovaSpan[],
  domain: IommuDomain,
  regions: readonly ReservedRegion[],
): readonly IovaSpan[] {
  return withoutReserved(clipped(validIova, domain.apertureVpn, domain.apertureEndVpn), regions);
}

/**
 * ATT-8: computes the list anew from the domains and groups that are left. `widen` says that a
 * domain has gone, so that the aperture may have grown. The old list stays if nothing would be
 * left.
 */
export function refreshed(iommu: VfioIommu, widen: boolean): readonly IovaSpan[] {
  const { validIova, domains } = iommu;
  let start = widen ? 0 : (validIova[0]?.vpn ?? 0);
  let end = widen ? IOVA_END : (validIova.at(-1)?.end ?? IOVA_END);
  if (widen) {
    for (const { domain } of domains) {
      start = Math.max(start, domain.apertureVpn);
      end = Math.min(end, domain.apertureEndVpn);
    }
  }
  const regions = domains.flatMap(({ groups }) => groups.flatMap(({ group }) => reservedBy(group)));
  try {
    return withoutReserved([{ vpn: start, end }], regions);
  } catch {
    return validIova; // nothing left: EINVAL, which vfio_iommu_resv_refresh's caller ignores
  }
}

export const reservedBy = (group: IommuGroup): readonly ReservedRegion[] => group.iommuDevice?.reservedRegions() ?? [];

/** An empty list stands for everything. */
function clipped(spans: readonly IovaSpan[], start: number, end: number): IovaSpan[] {
  if (spans.length === 0) return [{ vpn: start, end }];
  return spans
    .map((span) => ({ vpn: Math.max(span.vpn, start), end: Math.min(span.end, end) }))
    .filter((span) => span.vpn < span.end);
}

function withoutReserved(spans: readonly IovaSpan[], regions: readonly ReservedRegion[]): readonly IovaSpan[] {
  let left = spans;
  for (const { vpn, nrPages, type } of regions) {
    if (type === 'direct-relaxable') continue;
    left = left.flatMap((span) => cut(span, vpn, vpn + nrPages));
  }
  if (left.length === 0) throw einval('no valid iova is left');
  return left;
}

/** The parts of a span that are left without [vpn, end). */
function cut(span: IovaSpan, vpn: number, end: number): IovaSpan[] {
  if (vpn >= span.end || end <= span.vpn) return [span];
  const parts: IovaSpan[] = [];
  if (vpn > span.vpn) parts.push({ vpn: span.vpn, end: vpn });
  if (end < span.end) parts.push({ vpn: end, end: span.end });
  return parts;
}
