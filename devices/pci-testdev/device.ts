/**
 * pci-testdev (PCI 1b36:0005): QEMU's device for timing register accesses, with and without an
 * ioeventfd in the hypervisor. Here all of its tests count writes in the same way. It has no
 * interrupt and does no DMA.
 */
import { type Registers, ZERO } from '../kit/bar-access.ts';
import { type Bar, type Device, type DeviceType, NEVER } from '../kit/device.ts';
import { barSize, onOff, type PropertyTable, type PropertyValues } from '../kit/properties.ts';
import { RegisterFile } from '../kit/register-file.ts';
import { MEMBAR, MEMORY_BYTES, PORT_BYTES, REG, REGISTERS } from './regs.ts';

const PROPERTIES = {
  membar: barSize(0, 'zero', 'size of BAR 2; 0: there is none'),
  'membar-backed': onOff(false, 'whether BAR 2 has memory behind it, or nothing'),
} as const satisfies PropertyTable;

interface Test {
  readonly name: string;
  readonly offset: number;
  readonly data: number;
  /** Whether data other than `data` counts, too. */
  readonly wildcard: boolean;
}

const KINDS = [
  { suffix: 'no-eventfd', data: 0xfa, wildcard: false },
  { suffix: 'wildcard-eventfd', data: 0xce, wildcard: true },
  { suffix: 'datamatch-eventfd', data: 0xfa, wildcard: false },
] as const;

/** The tests of BAR 0, then those of BAR 1. `test` in the header is an index into this list. */
const TESTS: readonly Test[] = [
  ...KINDS.map(({ suffix, ...kind }, i) => ({ ...kind, name: `mmio-${suffix}`, offset: REG.MMIO_TEST + i })),
  ...KINDS.map(({ suffix, ...kind }, i) => ({ ...kind, name: `portio-${suffix}`, offset: REG.PORTIO_TEST + i })),
];

class PciTestdev implements Device {
  readonly bars: Device['bars'];
  #current: Test | undefined;
  #count = 0;

  constructor({ membar, 'membar-backed': backed }: PropertyValues<typeof PROPERTIES>) {
    const nothing: Registers = { read: () => ZERO, write: () => {} };
    this.bars = { 0: this.#testBar(0), 1: this.#testBar(1), ...(membar > 0 && !backed ? { [MEMBAR]: nothing } : {}) };
  }

  /** The header shows the test that is selected, in both BARs; all zeros while there is none. */
  #testBar(bar: number): Registers {
    const byteOf = (value: number | undefined, index: number): number => ((value ?? 0) >>> (8 * index)) & 0xff;
    return new RegisterFile(REGISTERS, {
      locked: undefined,
      read: {
        TEST: () => (this.#current ? TESTS.indexOf(this.#current) : 0),
        WIDTH: () => (this.#current ? 1 : 0),
        OFFSET: (index) => byteOf(this.#current?.offset, index),
        DATA: () => this.#current?.data ?? 0,
        COUNT: (index) => byteOf(this.#count, index),
        NAME: (index) => this.#current?.name.charCodeAt(index) || 0, // NaN behind its end
      },
      write: {
        TEST: (value) => this.#select(bar, value),
        MMIO_TEST: (value, index) => this.#hit(REG.MMIO_TEST + index, value),
        PORTIO_TEST: (value, index) => this.#hit(REG.PORTIO_TEST + index, value),
      },
    });
  }

  #select(bar: number, test: number): void {
    this.#current = test < KINDS.length ? TESTS[bar * KINDS.length + test] : undefined;
    this.#count = 0;
  }

  /** Counts a write at the offset of the selected test, in either BAR. */
  #hit(offset: number, value: number): void {
    const test = this.#current;
    if (test?.offset === offset && (test.wildcard || test.data === value)) this.#count = (this.#count + 1) >>> 0;
  }

  run(): number {
    return NEVER;
  }
}

function membarOf(size: number, backed: boolean): Bar {
  const shape = { index: MEMBAR, space: 'memory', size, width: 64, prefetchable: true } as const;
  if (backed) return { kind: 'ram', ...shape };
  return { kind: 'registers', ...shape, access: { min: 1, max: 8, odd: 'split', small: 'refuse' } };
}

export const device: DeviceType<typeof PROPERTIES> = {
  name: 'pci-testdev',
  summary: "QEMU's device for timing register accesses",
  identity: {
    vendor: 0x1b36,
    device: 0x0005,
    classCode: 0x00ff00,
    revision: 0,
    subsystemVendor: 0x1af4, // QEMU's defaults
    subsystem: 0x1100,
    interruptPin: 0,
  },
  bars({ membar, 'membar-backed': backed }) {
    const tests = { kind: 'registers', width: 32, prefetchable: false, registers: REGISTERS } as const;
    const access = { min: 1, max: 1, odd: 'split', small: 'refuse' } as const;
    return [
      { ...tests, index: 0, space: 'memory', size: MEMORY_BYTES, access },
      { ...tests, index: 1, space: 'io', size: PORT_BYTES, access },
      ...(membar > 0 ? [membarOf(membar, backed)] : []),
    ];
  },
  msi: false,
  properties: PROPERTIES,
  defects: [],
  create: (_, properties) => new PciTestdev(properties),
};
