/** A client that has a group in a container of its own, and the group's device open. */
import { VFIO_GROUP_GET_DEVICE_FD, VFIO_GROUP_SET_CONTAINER, VFIO_SET_IOMMU } from '../../../iommu/abi/vfio.ts';
import { containerArg, deviceNameArg } from '../../../vmm/client/group.ts';
import type { TestClient } from './test-client.ts';

export interface GroupUser {
  readonly client: TestClient;
  readonly container: number;
  readonly group: number;
  readonly device: number;
}

/** `iommuType`: 3 for type1v2, 1 for type1. */
export async function useGroup(
  client: TestClient,
  groupNumber: number,
  deviceName: string,
  iommuType = 3,
): Promise<GroupUser> {
  const container = await client.open('/dev/vfio/vfio');
  const group = await client.open(`/dev/vfio/${groupNumber}`);
  const steps = [
    await client.ioctl(group, VFIO_GROUP_SET_CONTAINER, containerArg(container)),
    await client.ioctl(container, VFIO_SET_IOMMU, iommuType),
  ];
  const device = await client.ioctl(group, VFIO_GROUP_GET_DEVICE_FD, deviceNameArg(deviceName));
  if (steps.some((ret) => ret !== 0) || device < 0) throw new Error(`set-up failed: ${[...steps, device]}`);
  return { client, container, group, device };
}
