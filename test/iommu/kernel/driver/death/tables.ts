/** What dies: a kernel that writes page tables in a block of pkernfs. It is bundled for that. */
import { PhysicalMemory } from '../../../../../iommu/bus/physical.ts';
import { PageTable } from '../../../../../iommu/kernel/driver/page-table.ts';
import { PersistentBlock, USE } from '../../../../../iommu/kernel/driver/persistent-block.ts';

export interface Change {
  readonly map: boolean;
  readonly vpn: number;
  readonly nrPages: number;
}

export const PFN = 0x40_0000;
const RW = 3;

/** Finds the tables or makes them, and makes each change; `done` is told of each. */
export function live(memory: SharedArrayBuffer, changes: readonly Change[], done: () => void): PageTable {
  const physical = new PhysicalMemory([{ kind: 'ram', start: 0, size: memory.byteLength, buffer: memory }]);
  const block = new PersistentBlock(physical, 0);
  const shape = { levels: 3, leafLevels: 1 } as const;
  const found = block.header();
  if (!found) block.keepOnly(new Set());
  const table = new PageTable(block, new Uint16Array(block.nrPages), shape, () => undefined, found?.root);
  if (found) block.keepOnly(table.adopt((pfn) => block.holds(pfn)));
  else block.publish({ use: USE.domain, levels: 3, gscid: 1, root: table.root });
  for (const { map, vpn, nrPages } of changes) {
    if (map) table.map(vpn, PFN + vpn, nrPages, RW);
    else {
      table.unmap(vpn, nrPages);
      table.reclaim();
    }
    done();
  }
  return table;
}
