/** PCI Express of vfio-pci (PCI-1, PCI-2, PCI-6, PCI-13), with edu of the kit behind it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { device as edu } from '../../../../../devices/edu/device.ts';
import { REG } from '../../../../../devices/edu/regs.ts';
import {
  IrqInfo,
  RegionInfo,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_RESET,
} from '../../../../../iommu/abi/vfio.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdRead } from '../../../../../platform/libc/eventfd.ts';
import { close } from '../../../../../platform/libc/fd.ts';
import { EndpointFunction } from '../../../../fakes/endpoint-function.ts';
import { FakeVfioDevice } from '../../../../fakes/fake-vfio-device.ts';

const ERR = 3;
const EVENTFD = 4;
const TRIGGER = 0x20;
const CONFIG = 7;
const EXP = 0x50;
const DEVCTL = EXP + 8;
const ERRORS = 0x100;
const SERIAL = 0x12c;

let pci: EndpointFunction;
let fake: FakeVfioDevice;
let event: number;

beforeEach(() => {
  event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  build();
});

afterEach(() => {
  fake.close();
  close(event);
});

function build(properties: Readonly<Record<string, string>> = { pcie: 'on', flr: 'on' }): void {
  pci = new EndpointFunction(edu, properties);
  fake = new FakeVfioDevice(pci);
  fake.write(CONFIG, 4, '0600');
}

async function configSize(): Promise<bigint> {
  const arg = RegionInfo.bytes({ argsz: RegionInfo.size, index: CONFIG });
  await fake.ioctl(VFIO_DEVICE_GET_REGION_INFO, arg);
  return RegionInfo.read(new DataView(arg.buffer)).size;
}

const irqInfo = (): Promise<number | string> =>
  fake.ioctl(VFIO_DEVICE_GET_IRQ_INFO, IrqInfo.bytes({ argsz: IrqInfo.size, index: ERR }));

describe('configuration space', () => {
  it('PCI-1: has 4096 bytes, and 256 without the capability', async () => {
    expect(await configSize()).toBe(4096n);
    expect([fake.read(CONFIG, 0xffc, 4), fake.read(CONFIG, 0xffe, 4)]).toEqual(['00000000', '-EFAULT']);
    build({});
    expect(await configSize()).toBe(256n);
    expect(fake.read(CONFIG, 0x100, 4)).toBe('-EFAULT');
  });

  it('PCI-9: shows the chain of extended capabilities, whose headers cannot be written', () => {
    fake.write(CONFIG, ERRORS, 'ffffffff');
    fake.write(CONFIG, SERIAL + 4, 'ffffffff');
    expect([fake.read(CONFIG, ERRORS, 4), fake.read(CONFIG, SERIAL, 12)]).toEqual([
      ...['0100c212', '0300010000000000005e0002'],
    ]);
  });

  it('PCI-9: leaves out of the chain what it does not know, but not from its beginning', () => {
    pci.override.set(SERIAL, 0x0001_001e); // L1 PM substates
    const second = new FakeVfioDevice(pci);
    expect(second.read(CONFIG, ERRORS, 4)).toBe('01000200');
    second.close();
    pci.override.set(ERRORS, 0x12c1_001e);
    pci.override.delete(SERIAL);
    const first = new FakeVfioDevice(pci);
    expect([first.read(CONFIG, ERRORS, 4), first.read(CONFIG, SERIAL, 2)]).toEqual(['0000c012', '0300']);
    first.close();
  });

  it('PCI-9: payload size is the user’s own, the size of requests the hardware’s, too; ARI stays', () => {
    fake.write(CONFIG, DEVCTL, 'ff7b');
    fake.write(CONFIG, EXP + 0x28, '2f00');
    expect([fake.read(CONFIG, DEVCTL, 2), pci.readConfig(DEVCTL, 2)]).toEqual(['ff79', 0x791f]);
    expect(fake.read(CONFIG, EXP + 0x28, 2)).toBe('0f00');
  });

  it('PCI-9: masks of errors can be written, and the last close restores them', () => {
    fake.write(CONFIG, ERRORS + 8, '01000000');
    fake.write(CONFIG, DEVCTL, '0028');
    expect([pci.readConfig(ERRORS + 8, 4), pci.readConfig(DEVCTL, 2)]).toEqual([1, 0x2800]);
    fake.reopen();
    expect([pci.readConfig(ERRORS + 8, 4), pci.readConfig(DEVCTL, 2)]).toEqual([0, 0x2810]);
  });

  it.each(['VFIO_DEVICE_RESET', 'the bit in its control register'])('PCI-6: is reset by %s', async (how) => {
    pci.writeBar(0, REG.LIVENESS, 4, { lo: 5, hi: 0 });
    fake.write(CONFIG, ERRORS + 8, '01000000');
    if (how === 'VFIO_DEVICE_RESET') expect(await fake.ioctl(VFIO_DEVICE_RESET, 0)).toBe(0);
    else fake.write(CONFIG, DEVCTL, '10a8');
    expect(fake.read(0, REG.LIVENESS, 4)).toBe('00000000');
    expect([pci.readConfig(ERRORS + 8, 4), fake.read(CONFIG, DEVCTL, 2)]).toEqual([1, '1028']);
  });
});

describe('ERR (PCI-13)', () => {
  it('PCI-2: is there on PCI Express only', async () => {
    expect(await irqInfo()).toBe(0);
    build({});
    expect(await irqInfo()).toBe('-EINVAL');
    expect(await fake.setIrqs(ERR, EVENTFD | TRIGGER, { data: [event] })).toBe('-EINVAL');
  });

  it('is signalled once for an error, whose status is cleared then', async () => {
    expect(await fake.setIrqs(ERR, EVENTFD | TRIGGER, { data: [event] })).toBe(0);
    pci.control.inject('uncorrectable-error');
    fake.device.errorDetected();
    fake.device.errorDetected();
    expect([eventfdRead(event), pci.readConfig(ERRORS + 4, 4)]).toEqual([1, 0]);
  });

  it('is silent where the error is masked, and where nobody listens', async () => {
    pci.control.inject('uncorrectable-error');
    fake.device.errorDetected();
    await fake.setIrqs(ERR, EVENTFD | TRIGGER, { data: [event] });
    fake.write(CONFIG, ERRORS + 8, '00004000');
    pci.control.inject('uncorrectable-error');
    fake.device.errorDetected();
    expect([eventfdRead(event), pci.readConfig(ERRORS + 4, 4)]).toEqual([0, 1 << 22]);
  });
});
