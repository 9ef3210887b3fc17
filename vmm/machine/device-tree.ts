/**
 * The device tree of this machine. It is QEMU's for `virt` with the same `aia=`, with the devices
 * that exist here.
 */
import { IRQ_M_EXT, IRQ_M_SOFT, IRQ_M_TIMER, IRQ_S_EXT, isaExtensions, isaString } from '../../guest/riscv/isa.ts';
import { cells64, type FdtNode, writeFdt } from './fdt.ts';
import { cpuNode, hartNumbers } from './hart-local/hart-number.ts';
import { IMSIC_IDENTITIES } from './hart-local/imsic-file.ts';
import { LEVELS, type Level } from './hart-local/interrupt-target.ts';
import { APLIC_SOURCES } from './shared/aplic.ts';
import {
  APLIC,
  CLINT,
  FW_CFG,
  IOMMU,
  IOMMU_IRQ,
  imsicPages,
  type MapEntry,
  PCIE_ECAM,
  PCIE_MMIO32,
  PCIE_MMIO64,
  PCIE_PIO,
  PLIC,
  pciIrq,
  RAM_BASE,
  RTC,
  RTC_IRQ,
  TEST_FINISHER,
  TIMEBASE_HZ,
  UART,
  UART_CLOCK_HZ,
  UART_IRQ,
  VIRTIO_MMIO_SLOTS,
  virtioMmioIrq,
  virtioMmioSlot,
} from './shared/memory-map.ts';
import { PLIC_SOURCES } from './shared/plic.ts';
import type { Aia } from './shared/wired-devices.ts';

const PHANDLE_PLIC = 2;
const PHANDLE_TEST = 3;
/** Behind those of the harts. */
const PHANDLE_IOMMU = 32;
const PHANDLE_APLIC: Readonly<Record<Level, number>> = { machine: 33, supervisor: 35 };
const PHANDLE_IMSIC: Readonly<Record<Level, number>> = { machine: 2, supervisor: 34 };
/** How a source of the APLIC is wired (AIA §4.5.2, as in Linux's binding): level, high. */
const LEVEL_HIGH = 4;
/** The phandle of a hart's interrupt controller. */
const intcPhandle = (hart: number): number => (hart === 0 ? 1 : 3 + hart);
const IRQ_EXT: Readonly<Record<Level, number>> = { machine: IRQ_M_EXT, supervisor: IRQ_S_EXT };
// PCI bus binding (IEEE 1275): phys.hi space codes.
const PCI_IO = 0x0100_0000;
const PCI_MEM32 = 0x0200_0000;
const PCI_MEM64 = 0x0300_0000;

const reg = ({ base, size }: MapEntry): number[] => cells64(base, size);
const unit = (name: string, { base }: MapEntry): string => `${name}@${base.toString(16)}`;

/** What the tree says beside the devices that every machine has. */
export interface TreeOptions {
  readonly ramSize: number;
  readonly harts?: number;
  /** aplic-imsic if absent. */
  readonly aia?: Aia;
  /** Whether there is an APLIC before the IMSIC. */
  readonly aplic?: boolean | undefined;
  /** Whether there is an IOMMU in front of the PCI bus. */
  readonly iommu?: boolean | undefined;
  /** The kernel's command line. */
  readonly bootargs?: string | undefined;
  /** [start, end) of the initial RAM disk. */
  readonly initrd?: { readonly start: number; readonly end: number } | undefined;
  /** RAM that our own firmware keeps for itself; it keeps what is there for M mode, too. */
  readonly firmware?: MapEntry | undefined;
  /** Words for the kernel's random generator. */
  readonly rngSeed?: readonly number[];
}

const cpu = (hart: number, aia: boolean): FdtNode => ({
  device_type: 'cpu',
  reg: hart,
  status: 'okay',
  compatible: 'riscv',
  'mmu-type': 'riscv,sv48',
  'riscv,isa': isaString(aia),
  'riscv,isa-base': 'rv64i',
  'riscv,isa-extensions': isaExtensions(aia),
  'interrupt-controller': {
    '#interrupt-cells': 1,
    'interrupt-controller': true,
    compatible: 'riscv,cpu-intc',
    phandle: intcPhandle(hart),
  },
});

/** The blob. */
export function deviceTree(options: TreeOptions): Uint8Array {
  const { ramSize, harts = 1, aia = 'aplic-imsic', aplic: hasAplic = false, iommu = false, firmware } = options;
  const hasPlic = aia === 'none';
  const wires = hasPlic ? PLIC_WIRES : hasAplic ? APLIC_WIRES : undefined;
  const syscon = (value: number): FdtNode => ({ value, offset: 0, regmap: PHANDLE_TEST });
  const interrupt = (irq: number): FdtNode =>
    wires ? { interrupts: wires.cells(irq), 'interrupt-parent': wires.parent } : {};
  /** Firmware has what is for M mode: OpenSBI says so in the tree by itself. */
  const levels = (isThere: boolean, nodeOf: (level: Level) => FdtNode): FdtNode =>
    Object.fromEntries(
      (isThere ? LEVELS : []).flatMap((level) =>
        Object.entries(nodeOf(level)).map(([name, node]) => {
          const isKept = level === 'machine' && firmware !== undefined;
          return [name, { ...(node as FdtNode), ...(isKept ? { status: 'disabled' } : {}) }];
        }),
      ),
    );
  const ofHarts = (...lines: readonly number[]): number[] =>
    hartNumbers(harts).flatMap((hart) => lines.flatMap((line) => [intcPhandle(hart), line]));
  return writeFdt({
    '#address-cells': 2,
    '#size-cells': 2,
    compatible: 'riscv-virtio',
    model: 'livevmm',
    aliases: { serial0: `/soc/${unit('serial', UART)}` },
    chosen: chosen(options),
    poweroff: { ...syscon(0x5555), compatible: 'syscon-poweroff' },
    reboot: { ...syscon(0x7777), compatible: 'syscon-reboot' },
    [`memory@${RAM_BASE.toString(16)}`]: { device_type: 'memory', reg: cells64(RAM_BASE, ramSize) },
    ...(firmware ? { 'reserved-memory': reserved(firmware) } : {}),
    cpus: {
      '#address-cells': 1,
      '#size-cells': 0,
      'timebase-frequency': TIMEBASE_HZ,
      ...Object.fromEntries(hartNumbers(harts).map((hart) => [cpuNode(hart), cpu(hart, !hasPlic)])),
    },
    ...(wires ? FW_CFG_NODE : {}),
    soc: {
      '#address-cells': 2,
      '#size-cells': 2,
      compatible: 'simple-bus',
      ranges: true,
      [unit('test', TEST_FINISHER)]: {
        phandle: PHANDLE_TEST,
        reg: reg(TEST_FINISHER),
        compatible: ['sifive,test1', 'sifive,test0', 'syscon'],
      },
      [unit('serial', UART)]: {
        ...interrupt(UART_IRQ),
        'clock-frequency': UART_CLOCK_HZ,
        reg: reg(UART),
        compatible: 'ns16550a',
      },
      ...(wires ? wiredDevices(interrupt) : {}),
      [unit('clint', CLINT)]: {
        'interrupts-extended': ofHarts(IRQ_M_SOFT, IRQ_M_TIMER),
        reg: reg(CLINT),
        compatible: ['sifive,clint0', 'riscv,clint0'],
      },
      ...(hasPlic ? plic(ofHarts(IRQ_M_EXT, IRQ_S_EXT)) : {}),
      ...levels(hasAplic, aplic),
      ...levels(!hasPlic, (level) => imsic(level, harts, ofHarts(IRQ_EXT[level]))),
      ...(iommu ? iommuNode(wires, !hasPlic) : {}),
      [unit('pci', PCIE_ECAM)]: {
        ...pci(wires, !hasPlic),
        ...(iommu ? { 'iommu-map': [0, PHANDLE_IOMMU, 0, 0x10000] } : {}),
      },
    },
  });
}

/** Its interrupts go by four wires, or as messages. */
const iommuNode = (wires: Wires | undefined, hasMessages: boolean): FdtNode => ({
  [unit('iommu', IOMMU)]: {
    ...(wires
      ? {
          interrupts: [0, 1, 2, 3].flatMap((wire) => wires.cells(IOMMU_IRQ + wire)),
          'interrupt-parent': wires.parent,
        }
      : {}),
    ...(hasMessages ? { 'msi-parent': PHANDLE_IMSIC.supervisor } : {}),
    reg: reg(IOMMU),
    phandle: PHANDLE_IOMMU,
    '#iommu-cells': 1,
    compatible: 'riscv,iommu',
  },
});

/** The controller of wired interrupts, and how its sources are named. */
interface Wires {
  readonly parent: number;
  cells(source: number): number[];
}

const PLIC_WIRES: Wires = { parent: PHANDLE_PLIC, cells: (source) => [source] };
const APLIC_WIRES: Wires = { parent: PHANDLE_APLIC.supervisor, cells: (source) => [source, LEVEL_HIGH] };

const FW_CFG_NODE: FdtNode = {
  [unit('fw-cfg', FW_CFG)]: { 'dma-coherent': true, reg: reg(FW_CFG), compatible: 'qemu,fw-cfg-mmio' },
};

const wiredDevices = (interrupt: (irq: number) => FdtNode): FdtNode => ({
  [unit('rtc', RTC)]: { ...interrupt(RTC_IRQ), reg: reg(RTC), compatible: 'google,goldfish-rtc' },
  ...Object.fromEntries(
    Array.from({ length: VIRTIO_MMIO_SLOTS }, (_, slot) => [
      unit('virtio_mmio', virtioMmioSlot(slot)),
      { ...interrupt(virtioMmioIrq(slot)), reg: reg(virtioMmioSlot(slot)), compatible: 'virtio,mmio' },
    ]),
  ),
});

const chosen = ({ bootargs, initrd, rngSeed }: TreeOptions): FdtNode => ({
  'stdout-path': `/soc/${unit('serial', UART)}`,
  ...(bootargs === undefined ? {} : { bootargs }),
  ...(initrd ? { 'linux,initrd-start': cells64(initrd.start), 'linux,initrd-end': cells64(initrd.end) } : {}),
  ...(rngSeed ? { 'rng-seed': rngSeed } : {}),
});

const reserved = (firmware: MapEntry): FdtNode => ({
  '#address-cells': 2,
  '#size-cells': 2,
  ranges: true,
  [unit('mmode_resv0', firmware)]: { reg: reg(firmware), 'no-map': true },
});

const plic = (lines: readonly number[]): FdtNode => ({
  [unit('interrupt-controller', PLIC)]: {
    phandle: PHANDLE_PLIC,
    'riscv,ndev': PLIC_SOURCES - 1,
    reg: reg(PLIC),
    'interrupts-extended': lines,
    'interrupt-controller': true,
    compatible: ['sifive,plic-1.0.0', 'riscv,plic0'],
    '#address-cells': 0,
    '#interrupt-cells': 1,
  },
});

/** All sources are for the child. OpenSBI up to 1.2 looks for the second name, as QEMU 9 had it. */
const DELEGATED = [PHANDLE_APLIC.supervisor, 1, APLIC_SOURCES - 1];
const DELEGATION: FdtNode = {
  'riscv,children': PHANDLE_APLIC.supervisor,
  'riscv,delegation': DELEGATED,
  'riscv,delegate': DELEGATED,
};

/** A domain. */
const aplic = (level: Level): FdtNode => ({
  [unit('interrupt-controller', APLIC[level])]: {
    phandle: PHANDLE_APLIC[level],
    ...(level === 'machine' ? DELEGATION : {}),
    'riscv,num-sources': APLIC_SOURCES - 1,
    reg: reg(APLIC[level]),
    'msi-parent': PHANDLE_IMSIC[level],
    'interrupt-controller': true,
    '#interrupt-cells': 2,
    '#address-cells': 0,
    compatible: ['qemu,aplic', 'riscv,aplic'],
  },
});

/** The interrupt files of a level. */
const imsic = (level: Level, harts: number, lines: readonly number[]): FdtNode => ({
  [unit('interrupt-controller', imsicPages(harts, level))]: {
    phandle: PHANDLE_IMSIC[level],
    'riscv,num-ids': IMSIC_IDENTITIES,
    reg: reg(imsicPages(harts, level)),
    'interrupts-extended': lines,
    'msi-controller': true,
    '#msi-cells': 0,
    'interrupt-controller': true,
    '#interrupt-cells': 0,
    compatible: ['qemu,imsics', 'riscv,imsics'],
  },
});

/** Slots 0 to 3 stand for all: only the low two bits of a slot count. */
const INTX_SLOTS = [0, 1, 2, 3];
const INTX_PINS = [0, 1, 2, 3];
const intxMap = ({ parent, cells }: Wires): number[] =>
  INTX_SLOTS.flatMap((slot) =>
    INTX_PINS.flatMap((pin) => [slot << 11, 0, 0, pin + 1, parent, ...cells(pciIrq(slot, pin))]),
  );

const pci = (wires: Wires | undefined, hasMessages: boolean): FdtNode => ({
  ...(wires ? { 'interrupt-map-mask': [0x1800, 0, 0, 7], 'interrupt-map': intxMap(wires) } : {}),
  ...(hasMessages ? { 'msi-parent': PHANDLE_IMSIC.supervisor } : {}),
  ranges: [
    ...(wires ? [PCI_IO, ...cells64(0, PCIE_PIO.base, PCIE_PIO.size)] : []),
    ...[PCI_MEM32, ...cells64(PCIE_MMIO32.base, PCIE_MMIO32.base, PCIE_MMIO32.size)],
    ...[PCI_MEM64, ...cells64(PCIE_MMIO64.base, PCIE_MMIO64.base, PCIE_MMIO64.size)],
  ],
  reg: reg(PCIE_ECAM),
  'dma-coherent': true,
  'bus-range': [0, 0],
  'linux,pci-domain': 0,
  device_type: 'pci',
  compatible: 'pci-host-ecam-generic',
  '#size-cells': 2,
  '#interrupt-cells': 1,
  '#address-cells': 3,
});
