/**
 * The memory map of QEMU's riscv `virt` machine, limited to the devices that this machine has
 * (docs/machine.md, "Memory map"). Ranges are [base, base+size).
 */
import type { Level } from '../hart-local/interrupt-target.ts';

export interface MapEntry {
  readonly base: number;
  readonly size: number;
}

export const MROM: MapEntry = { base: 0x1000, size: 0xf000 };
export const TEST_FINISHER: MapEntry = { base: 0x10_0000, size: 0x1000 };
export const RTC: MapEntry = { base: 0x10_1000, size: 0x1000 };
export const CLINT: MapEntry = { base: 0x200_0000, size: 0x1_0000 };
export const PCIE_PIO: MapEntry = { base: 0x300_0000, size: 0x1_0000 };
/** The guest's IOMMU; four wires, of the command queue, faults, counters and page requests. */
export const IOMMU: MapEntry = { base: 0x301_0000, size: 0x1000 };
export const IOMMU_IRQ = 36;
export const PLIC: MapEntry = { base: 0xc00_0000, size: 0x60_0000 };
/** The APLIC's domains, of M mode (in the place of the PLIC) and of S mode. */
export const APLIC: Readonly<Record<Level, MapEntry>> = {
  machine: { base: 0xc00_0000, size: 0x8000 },
  supervisor: { base: 0xd00_0000, size: 0x8000 },
};
export const UART: MapEntry = { base: 0x1000_0000, size: 0x100 };
const VIRTIO_MMIO: MapEntry = { base: 0x1000_1000, size: 0x1000 };
export const VIRTIO_MMIO_SLOTS = 8;
export const virtioMmioSlot = (slot: number): MapEntry => ({
  ...VIRTIO_MMIO,
  base: VIRTIO_MMIO.base + slot * VIRTIO_MMIO.size,
});
export const FW_CFG: MapEntry = { base: 0x1010_0000, size: 0x18 };
/** Room for the interrupt files of M and of S level: a page for each hart, from hart 0 on. */
export const IMSIC: Readonly<Record<Level, MapEntry>> = {
  machine: { base: 0x2400_0000, size: 0x400_0000 },
  supervisor: { base: 0x2800_0000, size: 0x400_0000 },
};
export const IMSIC_PAGE_SIZE = 0x1000;
export const imsicPage = (hart: number, level: Level): MapEntry => ({
  base: IMSIC[level].base + hart * IMSIC_PAGE_SIZE,
  size: IMSIC_PAGE_SIZE,
});
/** The interrupt files of a level of this number of harts together. */
export const imsicPages = (harts: number, level: Level): MapEntry => ({
  base: IMSIC[level].base,
  size: harts * IMSIC_PAGE_SIZE,
});
export const PCIE_ECAM: MapEntry = { base: 0x3000_0000, size: 0x1000_0000 };
export const PCIE_MMIO32: MapEntry = { base: 0x4000_0000, size: 0x4000_0000 };
export const RAM_BASE = 0x8000_0000;
/** The 64-bit window lies above all RAM that this machine can have (4 GiB). */
export const PCIE_MMIO64: MapEntry = { base: 0x4_0000_0000, size: 0x4_0000_0000 };

export const TIMEBASE_HZ = 10_000_000;
export const UART_CLOCK_HZ = 3_686_400;

/** Wired interrupts: sources of the PLIC, or of the APLIC. */
export const virtioMmioIrq = (slot: number): number => 1 + slot;
export const UART_IRQ = 10;
export const RTC_IRQ = 11;
/** INTx of pin A to D of a slot. */
export const pciIrq = (slot: number, pin: number): number => 32 + ((slot + pin) % 4);
