/**
 * ivshmem-plain (PCI 1af4:1110, QEMU's inter-VM shared memory without a server): memory in a BAR,
 * and registers that do nothing. It has no interrupt and does no DMA. NOT MODELLED: the doorbell
 * variant (BAR 1, MSI-X, ivshmem server).
 */
import { type Device, type DeviceType, NEVER } from '../kit/device.ts';
import { FUNCTION_PROPERTIES } from '../kit/function-properties.ts';
import { barSize, name, type PropertyTable } from '../kit/properties.ts';
import { RegisterFile } from '../kit/register-file.ts';
import { MEMORY_BAR, REGISTER_BYTES, REGISTERS } from './regs.ts';

const PROPERTIES = {
  flr: FUNCTION_PROPERTIES.flr,
  size: barSize(1 << 20, 'no zero', 'size of the memory'),
  memdev: name('devices with the same name show the same memory'),
} as const satisfies PropertyTable;

class Ivshmem implements Device {
  #intrStatus = 0;
  readonly bars: Device['bars'] = {
    0: new RegisterFile(REGISTERS, {
      locked: undefined,
      read: { INTR_STATUS: () => this.#takeStatus() },
      write: {
        INTR_STATUS: (value) => {
          this.#intrStatus = value;
        },
        DOORBELL: () => {},
      },
    }),
  };

  #takeStatus(): number {
    const status = this.#intrStatus;
    this.#intrStatus = 0;
    return status;
  }

  run(): number {
    return NEVER;
  }
}

export const device: DeviceType<typeof PROPERTIES> = {
  name: 'ivshmem-plain',
  summary: 'memory in a BAR',
  identity: {
    vendor: 0x1af4,
    device: 0x1110,
    classCode: 0x050000, // RAM controller
    revision: 1,
    subsystemVendor: 0x1af4, // QEMU's defaults
    subsystem: 0x1100,
    interruptPin: 0,
  },
  bars: ({ size, memdev }) => [
    {
      kind: 'registers',
      index: 0,
      space: 'memory',
      size: REGISTER_BYTES,
      width: 32,
      prefetchable: false,
      access: { min: 4, max: 4, odd: 'split', small: 'widen' },
      registers: REGISTERS,
    },
    {
      kind: 'ram',
      index: MEMORY_BAR,
      space: 'memory',
      size,
      width: 64,
      prefetchable: true,
      ...(memdev === undefined ? {} : { sharedAs: memdev }),
    },
  ],
  msi: false,
  properties: PROPERTIES,
  defects: [],
  create: () => new Ivshmem(),
};
