/** Which memory may be mapped by page tables that outlive the kernel (PKF-5). */
import { efault } from '../../../../platform/errno.ts';
import type { PinnedRun } from '../../mm/pin.ts';
import type { VfioIommu } from './vfio-iommu.ts';

/** EFAULT: memory that does not outlive the kernel, for tables that do. */
export function checkPersistent({ persistence, tables }: VfioIommu, { backing }: PinnedRun): void {
  if (persistence === 'strict' && tables && backing.persistent !== true) {
    throw efault('memory that is no file of pkernfs does not outlive the kernel, and its translation would');
  }
}
