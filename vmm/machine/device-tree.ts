/**
 * The device tree of this machine. It is QEMU's for `virt,aia=aplic-imsic`, with the devices that
 * exist here.
 */
import { ISA, ISA_EXTENSIONS } from '../../guest/riscv/isa.ts';
import { cells64, type FdtNode, writeFdt } from './fdt.ts';
import { cpuNode, HARTS, hartNumbers } from './hart-local/hart-number.ts';
import { IMSIC_IDENTITIES } from './hart-local/imsic.ts';
import {
  CLINT,
  IMSIC_M,
  imsicPages,
  type MapEntry,
  PCIE_ECAM,
  PCIE_MMIO32,
  PCIE_MMIO64,
  RAM_BASE,
  TEST_FINISHER,
  TIMEBASE_HZ,
  UART,
  UART_CLOCK_HZ,
} from './shared/memory-map.ts';

const PHANDLE_IMSIC = 2;
const PHANDLE_TEST = 3;
/** The phandle of a hart's interrupt controller. */
const intcPhandle = (hart: number): number => (hart === 0 ? 1 : 3 + hart);
const IRQ_M_SOFT = 3;
const IRQ_M_TIMER = 7;
const IRQ_M_EXT = 11;
// PCI bus binding (IEEE 1275): phys.hi space codes.
const PCI_MEM32 = 0x0200_0000;
const PCI_MEM64 = 0x0300_0000;

const reg = ({ base, size }: MapEntry): number[] => cells64(base, size);
const unit = (name: string, { base }: MapEntry): string => `${name}@${base.toString(16)}`;

const cpu = (hart: number): FdtNode => ({
  device_type: 'cpu',
  reg: hart,
  status: 'okay',
  compatible: 'riscv',
  'mmu-type': 'riscv,sv48',
  'riscv,isa': ISA,
  'riscv,isa-base': 'rv64i',
  'riscv,isa-extensions': ISA_EXTENSIONS,
  'interrupt-controller': {
    '#interrupt-cells': 1,
    'interrupt-controller': true,
    compatible: 'riscv,cpu-intc',
    phandle: intcPhandle(hart),
  },
});

export function deviceTree(ramSize: number, harts: number = HARTS): Uint8Array {
  const syscon = (value: number): FdtNode => ({ value, offset: 0, regmap: PHANDLE_TEST });
  return writeFdt({
    '#address-cells': 2,
    '#size-cells': 2,
    compatible: 'riscv-virtio',
    model: 'livevmm',
    chosen: { 'stdout-path': `/soc/${unit('serial', UART)}` },
    poweroff: { ...syscon(0x5555), compatible: 'syscon-poweroff' },
    reboot: { ...syscon(0x7777), compatible: 'syscon-reboot' },
    [`memory@${RAM_BASE.toString(16)}`]: { device_type: 'memory', reg: cells64(RAM_BASE, ramSize) },
    cpus: {
      '#address-cells': 1,
      '#size-cells': 0,
      'timebase-frequency': TIMEBASE_HZ,
      ...Object.fromEntries(hartNumbers(harts).map((hart) => [cpuNode(hart), cpu(hart)])),
    },
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
      [unit('serial', UART)]: { 'clock-frequency': UART_CLOCK_HZ, reg: reg(UART), compatible: 'ns16550a' },
      [unit('clint', CLINT)]: {
        'interrupts-extended': hartNumbers(harts).flatMap((hart) => [
          ...[intcPhandle(hart), IRQ_M_SOFT],
          ...[intcPhandle(hart), IRQ_M_TIMER],
        ]),
        reg: reg(CLINT),
        compatible: ['sifive,clint0', 'riscv,clint0'],
      },
      [unit('imsics', IMSIC_M)]: {
        phandle: PHANDLE_IMSIC,
        'riscv,num-ids': IMSIC_IDENTITIES,
        reg: reg(imsicPages(harts)),
        'interrupts-extended': hartNumbers(harts).flatMap((hart) => [intcPhandle(hart), IRQ_M_EXT]),
        'msi-controller': true,
        '#msi-cells': 0,
        'interrupt-controller': true,
        '#interrupt-cells': 0,
        compatible: ['qemu,imsics', 'riscv,imsics'],
      },
      [unit('pci', PCIE_ECAM)]: {
        ranges: [
          ...[PCI_MEM32, ...cells64(PCIE_MMIO32.base, PCIE_MMIO32.base, PCIE_MMIO32.size)],
          ...[PCI_MEM64, ...cells64(PCIE_MMIO64.base, PCIE_MMIO64.base, PCIE_MMIO64.size)],
        ],
        reg: reg(PCIE_ECAM),
        'msi-parent': PHANDLE_IMSIC,
        'dma-coherent': true,
        'bus-range': [0, 0],
        'linux,pci-domain': 0,
        device_type: 'pci',
        compatible: 'pci-host-ecam-generic',
        '#size-cells': 2,
        '#interrupt-cells': 1,
        '#address-cells': 3,
      },
    },
  });
}
