/** VFIO_DEVICE_RESET of a device that can be reset (PCI-6), on a board. */
import { describe, expect, it } from 'vitest';

import { REG } from '../../../../../devices/edu/regs.ts';
import {
  DeviceInfo,
  IrqInfo,
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_RESET,
} from '../../../../../iommu/abi/vfio.ts';
import { viewOf } from '../../../../../platform/struct.ts';
import { useGroup } from '../../group-user.ts';
import { name, type TestClient } from '../../test-client.ts';
import { hostOfTests } from '../../test-host.ts';

const CONFIG = 7 * 2 ** 40;
const AF = CONFIG + 0x50;
const ALIVE = 0xffff_fffa; // what LIVENESS reads after 5 was written
const host = hostOfTests({
  devices: [
    { type: 'edu', properties: { flr: 'on', intx: 'off' } },
    { type: 'edu', properties: {} },
  ],
});

async function user(group = 0): Promise<{ client: TestClient; device: number; container: number; group: number }> {
  return useGroup(await host.connect(), group, `0000:00:0${2 + group}.0`);
}

async function word(client: TestClient, device: number, offset: number): Promise<number> {
  const bytes = await client.pread(device, offset, 4);
  return typeof bytes === 'number' ? bytes : viewOf(bytes).getUint32(0, true);
}

describe('PCI-6: a device that can be reset', () => {
  it('says so; one that cannot does not, and refuses', async () => {
    const flags = async (group: number): Promise<readonly unknown[]> => {
      const { client, device } = await user(group);
      const arg = DeviceInfo.bytes({ argsz: DeviceInfo.size });
      await client.ioctl(device, VFIO_DEVICE_GET_INFO, arg);
      return [DeviceInfo.read(viewOf(arg)).flags, name(await client.ioctl(device, VFIO_DEVICE_RESET, 0))];
    };
    expect(await flags(0)).toEqual([VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET, '0']);
    expect(await flags(1)).toEqual([VFIO_DEVICE_FLAGS_PCI, '-EINVAL']);
  });

  it.each(['VFIO_DEVICE_RESET', 'the bit in its capability'])(
    'is reset by %s, and its configuration stays',
    async (how) => {
      const { client, device } = await user();
      await client.pwrite(device, CONFIG + 4, Uint8Array.of(6, 0));
      await client.pwrite(device, REG.LIVENESS, Uint8Array.of(5, 0, 0, 0));
      const before = [await word(client, device, REG.LIVENESS), await word(client, device, CONFIG + 4)];
      if (how === 'VFIO_DEVICE_RESET') await client.ioctl(device, VFIO_DEVICE_RESET, 0);
      else await client.pwrite(device, AF + 4, Uint8Array.of(1));

      expect(before).toEqual([ALIVE, 0x0010_0006]);
      expect([await word(client, device, REG.LIVENESS), await word(client, device, CONFIG + 4)]).toEqual([
        0, 0x0010_0006,
      ]);
      expect(await word(client, device, AF)).toBe(0x0306_0013);
      expect(await client.pread(device, AF + 4, 1)).toEqual(Buffer.of(0)); // the bit reads 0
    },
  );

  it('is reset by the last close', async () => {
    const { client, device, container, group } = await user();
    await client.pwrite(device, REG.LIVENESS, Uint8Array.of(5, 0, 0, 0));
    for (const fd of [device, group, container]) await client.close(fd);
    const again = await useGroup(client, 0, '0000:00:02.0');
    expect(await word(client, again.device, REG.LIVENESS)).toBe(0);
  });

  it('has no INTx where it has no pin', async () => {
    const { client, device } = await user();
    const arg = IrqInfo.bytes({ argsz: IrqInfo.size, index: 0 });
    await client.ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, arg);
    expect(IrqInfo.read(viewOf(arg)).count).toBe(0);
    expect(await word(client, device, CONFIG + 0x3c)).toBe(0);
  });
});
