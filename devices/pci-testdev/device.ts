/**
 * pci-testdev (PCI 1b36:0005): QEMU's device for timing register accesses, with and without an ioeventfd in the hypervisor. Here
 * all of its tests count alike: what is written is what counts. It has no interrupt and does no DMA.
 */
import { type Registers, word, ZERO } from '../kit/bar-access.ts';
import { type Bar, type Device, type DeviceType, NEVER } from '../kit/device.ts';
import { barSize, onOff, type PropertyTable, type PropertyValues } from '../kit/properties.ts';
import {
  HEADER_COUNT,
  HEADER_DATA,
  HEADER_NAME,
  HEADER_OFFSET,
  HEADER_TEST,
  HEADER_WIDTH,
  MEMBAR,
  MEMORY_BYTES,
  PORT_BYTES,
} from './regs.ts';

const PROPERTIES = {
  /** Size of BAR 2; 0 = there is none. */
  membar: barSize(0, 'zero'),
  /** Whether BAR 2 has memory behind it, or nothing. */
  'membar-backed': onOff(false),
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

/** The tests of BAR 0, then those of BAR 1; `test` in the header is the index here. */
const TESTS: readonly Test[] = [
  ...KINDS.map(({ suffix, ...kind }, i) => ({ ...kind, name: `mmio-${suffix}`, offset: 0x800 + i })),
  ...KINDS.map(({ suffix, ...kind }, i) => ({ ...kind, name: `portio-${suffix}`, offset: 0x83 + i })),
];

class PciTestdev implements Device {
  readonly bars: Device['bars'];
  #current: Test | undefined;
  #count = 0;

  constructor({ membar, 'membar-backed': backed }: PropertyValues<typeof PROPERTIES>) {
    const testBar = (bar: number): Registers => ({
      read: (offset) => word(this.#read(offset)),
      write: (offset, _, value) => this.#write(bar, offset, value),
    });
    const nothing: Registers = { read: () => ZERO, write: () => {} };
    this.bars = { 0: testBar(0), 1: testBar(1), ...(membar > 0 && !backed ? { [MEMBAR]: nothing } : {}) };
  }

  /** One byte of the header; all zeros while no test is selected. */
  #read(offset: number): number {
    const test = this.#current;
    if (!test) return 0;
    const byteOf = (value: number, at: number): number => (value >>> (8 * (offset - at))) & 0xff;
    if (offset === HEADER_TEST) return TESTS.indexOf(test);
    if (offset === HEADER_WIDTH) return 1;
    if (offset >= HEADER_OFFSET && offset < HEADER_OFFSET + 4) return byteOf(test.offset, HEADER_OFFSET);
    if (offset === HEADER_DATA) return test.data;
    if (offset >= HEADER_COUNT && offset < HEADER_COUNT + 4) return byteOf(this.#count, HEADER_COUNT);
    const letter = offset >= HEADER_NAME ? test.name.charCodeAt(offset - HEADER_NAME) : 0;
    return letter || 0; // NaN behind its end
  }

  /** The test that is selected counts writes at its offset, in whichever of the two BARs. */
  #write(bar: number, offset: number, value: number): void {
    if (offset === HEADER_TEST) {
      this.#current = value < KINDS.length ? TESTS[bar * KINDS.length + value] : undefined;
      this.#count = 0;
      return;
    }
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
    const tests = { kind: 'registers', width: 32, prefetchable: false } as const;
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
