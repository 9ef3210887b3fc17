/** Opens what a mapper needs, in VFIO's order: container, groups, IOMMU type, devices. */
import { monotonicNs } from '../../../platform/clock.ts';
import { openEmptyContainer, setIommu } from '../../../vmm/client/container.ts';
import { openDevice, openGroup, setContainer } from '../../../vmm/client/group.ts';
import { Violation } from '../invariants.ts';
import type { AssignedDevice } from './assignment.ts';
import type { Caller } from './caller.ts';

/** How long the host may take to notice that the former owner of a group is dead. */
const PATIENCE_NS = 20e9;
const PAUSE_MS = 2;

const nobody = new Int32Array(new SharedArrayBuffer(4));

/**
 * Opens a group. A client that was killed a moment ago may still have it open, so -EBUSY is
 * retried.
 */
export function acquireGroup(caller: Caller, group: number): number {
  const deadline = monotonicNs() + PATIENCE_NS;
  for (;;) {
    const answer = caller.try(`open group ${group}`, (client) => openGroup(client, group));
    if (typeof answer === 'number') return answer;
    if (answer !== 'EBUSY') throw new Violation('answer', `open group ${group}: ${answer}`);
    if (monotonicNs() > deadline) throw new Violation('6', `group ${group} is still busy, and nobody has it open`);
    Atomics.wait(nobody, 0, 0, PAUSE_MS);
  }
}

export function acquireDevice(caller: Caller, groupFd: number, { bdf }: AssignedDevice): number {
  return caller.must(`open ${bdf}`, (client) => openDevice(client, groupFd, bdf));
}

export interface OpenFiles {
  readonly container: number;
  /** The groups, one for each device. */
  readonly groups: readonly number[];
  readonly devices: readonly number[];
}

export function openAll(caller: Caller, devices: readonly AssignedDevice[], iommuType: number): OpenFiles {
  const groups = devices.map(({ group }) => acquireGroup(caller, group));
  const container = caller.must('open container', openEmptyContainer);
  for (const group of groups) caller.must('SET_CONTAINER', (client) => setContainer(client, group, container));
  caller.must(`SET_IOMMU ${iommuType}`, (client) => setIommu(client, container, iommuType));
  return { container, groups, devices: devices.map((device, i) => acquireDevice(caller, groups[i]!, device)) };
}
