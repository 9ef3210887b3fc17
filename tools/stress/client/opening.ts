/** Opening what a mapper needs, in VFIO's order: container, groups, IOMMU type, devices. */
import { VFIO_GROUP_GET_DEVICE_FD, VFIO_GROUP_SET_CONTAINER, VFIO_SET_IOMMU } from '../../../iommu/abi/vfio.ts';
import { VFIO_CONTAINER_PATH, VFIO_GROUP_DIR } from '../../../iommu/abi/wire.ts';
import { monotonicNs } from '../../../platform/clock.ts';
import { Violation } from '../invariants.ts';
import type { AssignedDevice } from './assignment.ts';
import type { Caller } from './caller.ts';

/** How long the host may take to notice that whoever had the group is dead. */
const PATIENCE_NS = 20e9;
const PAUSE_MS = 2;

const nobody = new Int32Array(new SharedArrayBuffer(4));

/** A group that somebody killed a moment ago may have still open. */
export function openGroup(caller: Caller, group: number): number {
  const deadline = monotonicNs() + PATIENCE_NS;
  for (;;) {
    const answer = caller.try(`open group ${group}`, (client) => client.open(`${VFIO_GROUP_DIR}${group}`));
    if (typeof answer === 'number') return answer;
    if (answer !== 'EBUSY') throw new Violation('answer', `open group ${group}: ${answer}`);
    if (monotonicNs() > deadline) throw new Violation('6', `group ${group} is still busy, and nobody has it open`);
    Atomics.wait(nobody, 0, 0, PAUSE_MS);
  }
}

export function setContainer(groupFd: number, containerFd: number): (client: Caller['client']) => number {
  return (client) => client.ioctl(groupFd, VFIO_GROUP_SET_CONTAINER, int32(containerFd));
}

export function openDevice(caller: Caller, groupFd: number, { bdf }: AssignedDevice): number {
  const name = new TextEncoder().encode(`${bdf}\0`);
  return caller.must(`open ${bdf}`, (client) => client.ioctl(groupFd, VFIO_GROUP_GET_DEVICE_FD, name));
}

export interface OpenFiles {
  readonly container: number;
  /** One group for each device. */
  readonly groups: readonly number[];
  readonly devices: readonly number[];
}

export function openAll(caller: Caller, devices: readonly AssignedDevice[], iommuType: number): OpenFiles {
  const groups = devices.map(({ group }) => openGroup(caller, group));
  const container = caller.must('open container', (client) => client.open(VFIO_CONTAINER_PATH));
  for (const group of groups) caller.must('SET_CONTAINER', setContainer(group, container));
  caller.must(`SET_IOMMU ${iommuType}`, (client) => client.ioctl(container, VFIO_SET_IOMMU, iommuType));
  return { container, groups, devices: devices.map((device, i) => openDevice(caller, groups[i]!, device)) };
}

const int32 = (value: number): Uint8Array => new Uint8Array(Int32Array.of(value).buffer);
