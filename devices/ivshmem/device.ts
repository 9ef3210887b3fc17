/**
 * ivshmem-plain (PCI 1af4:1110, QEMU's inter-VM shared memory without a server): memory in a BAR, and registers that do nothing.
 * It has no interrupt and does no DMA.
 * NOT MODELLED: the doorbell variant (BAR 1, MSI-X, ivshmem server).
 */
import { type Registers, word, ZERO } from '../kit/bar-access.ts';
import { type Device, type DeviceType, NEVER } from '../kit/device.ts';
import { barSize, type PropertyTable } from '../kit/properties.ts';
import { MEMORY_BAR, REG_INTR_MASK, REG_INTR_STATUS, REGISTER_BYTES } from './regs.ts';

const PROPERTIES = { size: barSize(1 << 20, 'no zero') } as const satisfies PropertyTable;

class Ivshmem implements Device {
  readonly bars: Device['bars'];
  #intrMask = 0;
  #intrStatus = 0;

  constructor() {
    const registers: Registers = {
      read: (offset) => this.#read(offset),
      write: (offset, _, lo) => this.#write(offset, lo),
    };
    this.bars = { 0: registers };
  }

  #read(offset: number): ReturnType<Registers['read']> {
    if (offset === REG_INTR_MASK) return word(this.#intrMask);
    if (offset !== REG_INTR_STATUS) return ZERO;
    const status = word(this.#intrStatus);
    this.#intrStatus = 0;
    return status;
  }

  #write(offset: number, value: number): void {
    if (offset === REG_INTR_MASK) this.#intrMask = value;
    else if (offset === REG_INTR_STATUS) this.#intrStatus = value;
  }

  run(): number {
    return NEVER;
  }
}

export const device: DeviceType<typeof PROPERTIES> = {
  name: 'ivshmem-plain',
  identity: {
    vendor: 0x1af4,
    device: 0x1110,
    classCode: 0x050000, // RAM controller
    revision: 1,
    subsystemVendor: 0x1af4, // QEMU's defaults
    subsystem: 0x1100,
    interruptPin: 0,
  },
  bars: ({ size }) => [
    {
      kind: 'registers',
      index: 0,
      space: 'memory',
      size: REGISTER_BYTES,
      width: 32,
      prefetchable: false,
      access: { min: 4, max: 4, odd: 'split', small: 'widen' },
    },
    { kind: 'ram', index: MEMORY_BAR, space: 'memory', size, width: 64, prefetchable: true },
  ],
  msi: false,
  properties: PROPERTIES,
  defects: [],
  create: () => new Ivshmem(),
};
