/** Opens what the keeper needs: memory, page tables and mappings that outlive the kernel. */
import { VFIO_TYPE1v2_IOMMU } from '../../../iommu/abi/vfio.ts';
import { monotonicNs } from '../../../platform/clock.ts';
import { codeOf } from '../../../platform/errno.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { openEmptyContainer, setIommu } from '../../../vmm/client/container.ts';
import { setContainer } from '../../../vmm/client/group.ts';
import {
  createPersistent,
  findPersistent,
  openPersistent,
  setPersistentEntries,
  setPersistentTables,
} from '../../../vmm/client/pkernfs.ts';
import { Violation } from '../invariants.ts';
import type { AssignedDevice } from './assignment.ts';
import type { Call, Caller } from './caller.ts';
import { acquireDevice, acquireGroup } from './opening.ts';

const RAM = 'keeper.ram';
const TABLES = 'iommu/keeper';
const ENTRIES = 'vfio/keeper';
export const KEPT_PAGES = 512;

/** How long the host may take to notice that the former owner of a file is dead. */
const PATIENCE_NS = 20e9;
const PAUSE_MS = 2;
const nobody = new Int32Array(new SharedArrayBuffer(4));

export interface KeeperFiles {
  readonly container: number;
  /** In the order of the assignment. */
  readonly devices: readonly number[];
}

/** The memory that is mapped for DMA; it is made when it is not there. */
export function openMemory({ client, log }: Caller): number {
  const size = KEPT_PAGES * PAGE_SIZE;
  log.event(`memory ${RAM}`);
  try {
    return findPersistent(client, RAM, size);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
    return createPersistent(client, RAM, size);
  }
}

/**
 * The container with all its devices. SET_IOMMU finds the tables that are there, and with
 * `withEntries` the mappings.
 */
export function openContainer(caller: Caller, devices: readonly AssignedDevice[], withEntries: boolean): KeeperFiles {
  const groups = devices.map(({ group }) => acquireGroup(caller, group));
  const container = caller.must('open container', openEmptyContainer);
  give(caller, TABLES, (file) => (client) => setPersistentTables(client, container, file));
  if (withEntries) give(caller, ENTRIES, (file) => (client) => setPersistentEntries(client, container, file));
  for (const group of groups) caller.must('SET_CONTAINER', (client) => setContainer(client, group, container));
  caller.must('SET_IOMMU', (client) => setIommu(client, container, VFIO_TYPE1v2_IOMMU));
  return { container, devices: devices.map((device, i) => acquireDevice(caller, groups[i]!, device)) };
}

/** A client that was killed a moment ago may still have the file, so EBUSY is tried again. */
function give(caller: Caller, name: string, call: (file: number) => Call): void {
  const file = caller.must(`open ${name}`, (client) => openPersistent(client, name));
  const deadline = monotonicNs() + PATIENCE_NS;
  const text = `give it ${name}`;
  let answer = caller.try(text, call(file));
  while (answer === 'EBUSY') {
    if (monotonicNs() > deadline) throw new Violation('6', `${name} is still busy, and nobody has it`);
    Atomics.wait(nobody, 0, 0, PAUSE_MS);
    answer = caller.try(text, call(file));
  }
  if (answer !== 0) throw new Violation('answer', `give it ${name}: ${answer}`);
  caller.must('close', (client) => client.close(file));
}
