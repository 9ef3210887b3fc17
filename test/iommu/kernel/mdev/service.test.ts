import { beforeEach, describe, expect, it } from 'vitest';
import { MediatedService } from '../../../../iommu/kernel/mdev/service.ts';
import type { ContainerIommu } from '../../../../iommu/kernel/vfio/container-iommu.ts';
import type { DeviceGroup } from '../../../../iommu/kernel/vfio/device.ts';
import { SysError } from '../../../../platform/errno.ts';

/** The checks of the VFIO core before an IOMMU driver is asked (MDV-1). */

const calls: string[] = [];
beforeEach(() => calls.splice(0));

const done =
  <T>(name: string, result: T) =>
  (): T => {
    calls.push(name);
    return result;
  };
const rest = {} as ContainerIommu;
const capable: ContainerIommu = {
  ...rest,
  registerDevice: done('register', undefined),
  unregisterDevice: done('unregister', undefined),
  pinPages: done('pin', Promise.resolve([5])),
  unpinPages: done('unpin', 1),
  dmaRw: done('rw', Promise.resolve(true)),
};
const groupWith = (iommu: ContainerIommu | undefined, nrDevices = 1): DeviceGroup => ({
  iommuGroup: { id: 7, dids: [] },
  nrDevices,
  container: { iommu },
});

const opened = (group: DeviceGroup): MediatedService => {
  const service = new MediatedService();
  service.opened(group);
  return service;
};
const closed = (): MediatedService => {
  const service = opened(groupWith(capable));
  service.closed();
  return service;
};

async function errnoOf(call: () => unknown): Promise<string> {
  try {
    await call();
    return 'ok';
  } catch (error) {
    if (error instanceof SysError) return error.code;
    throw error;
  }
}

describe('MDV-1: a call of a driver', () => {
  it.each<[string, () => MediatedService, string]>([
    ['of a device that is open in a container', () => opened(groupWith(capable)), 'ok'],
    ['whose device was never opened', () => new MediatedService(), 'EINVAL'],
    ['whose device is closed', closed, 'EINVAL'],
    ['whose group has a second device', () => opened(groupWith(capable, 2)), 'EINVAL'],
    ['whose group is in no container', () => opened({ ...groupWith(capable), container: undefined }), 'EINVAL'],
    ['whose container has no IOMMU driver', () => opened(groupWith(undefined)), 'EINVAL'],
    ['whose IOMMU driver cannot do it', () => opened(groupWith(rest)), 'ENOTTY'],
  ])('%s', async (_name, service, code) => {
    const data = new Uint8Array(1);
    const codes = [
      await errnoOf(() => service().pinPages({ vpn: 0, nrPages: 1, prot: 1 })),
      await errnoOf(() => service().unpinPages(0, 1)),
      await errnoOf(() => service().dmaRw({ vpn: 0, offset: 0, data, write: false })),
    ];
    expect(codes).toEqual([code, code, code]);
    expect(calls).toEqual(code === 'ok' ? ['pin', 'unpin', 'rw'] : []);
  });

  it.each([
    [0, 'EINVAL'],
    [512, 'ok'],
    [513, 'E2BIG'],
  ])('that pins %i pages; tested before anything else', async (nrPages, code) => {
    const pin = (service: MediatedService) => errnoOf(() => service.pinPages({ vpn: 0, nrPages, prot: 1 }));
    expect([await pin(opened(groupWith(capable))), await pin(new MediatedService())]).toEqual([
      code,
      code === 'ok' ? 'EINVAL' : code,
    ]);
  });

  it('goes to the driver with the group, and back with its answer', async () => {
    const asked: unknown[] = [];
    const iommu: ContainerIommu = {
      ...capable,
      pinPages: async (request) => {
        asked.push(request);
        return [42];
      },
    };
    const group = groupWith(iommu);
    expect(await opened(group).pinPages({ vpn: 3, nrPages: 1, prot: 3 })).toEqual([42]);
    expect(asked).toEqual([{ group: group.iommuGroup, vpn: 3, nrPages: 1, prot: 3 }]);
  });
});

describe('MDV-6: who listens for unmaps', () => {
  it('is registered from the first open to the last close', () => {
    const service = new MediatedService({ dmaUnmap: () => undefined });
    service.opened(groupWith(capable));
    service.closed();
    expect(calls).toEqual(['register', 'unregister']);
  });

  it('nobody, for a driver that pins nothing', () => {
    opened(groupWith(capable)).closed();
    expect(calls).toEqual([]);
  });
});
