/**
 * The PCIe host: ECAM and the memory windows of `virt` (docs/machine.md, "PCI host"), bus 0 only.
 * Slot 0 holds the host bridge. A read that no function answers gives all ones, a write is dropped
 * (PCIe 6.0 §2.3.2: Unsupported Request). NOT MODELLED: I/O space (the PIO window answers like one
 * without functions), bridges.
 */
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import { enospc } from '../../../platform/errno.ts';
import type { MmioDevice, SystemBus } from './bus.ts';
import { PCIE_ECAM, PCIE_MMIO32, PCIE_MMIO64, PCIE_PIO } from './memory-map.ts';
import type { BarWindow, ConfigSize, PciFunction } from './pci-function.ts';

const SLOTS = 32;

/**
 * The id by which an IOMMU knows function 0 of a slot of bus 0: its requester id (PCIe 6.0
 * §2.2.4.2).
 */
export const deviceId = (slot: number): number => slot << 3;

/** The value of `size` bytes where nobody answers. */
export const allOnes = (size: AccessSize): bigint => (1n << BigInt(8 * size)) - 1n;

/** 1b36:0008, class 060000: QEMU's "gpex-root". Nothing in it can be written. */
const hostBridge: PciFunction = {
  configSize: 256,
  readConfig: (offset, size) => {
    const dword = [0x0008_1b36, 0, 0x0600_0000][offset >> 2] ?? 0;
    return extract(dword, offset & 3, size);
  },
  writeConfig: () => {},
  windows: () => [],
  loadBar: (_bar, _offset, size) => allOnes(size),
  storeBar: () => {},
  reset: () => {},
};

/** The `size` bytes at byte `at` of a dword. */
export const extract = (dword: number, at: number, size: ConfigSize): number =>
  size === 4 ? dword >>> 0 : (dword >>> (8 * at)) & (size === 2 ? 0xffff : 0xff);

interface Target {
  readonly fn: PciFunction;
  readonly window: BarWindow;
}

export class PciHost {
  readonly #slots: (PciFunction | undefined)[] = [hostBridge];

  /** Puts a function into the next free slot; returns the slot. ENOSPC. */
  add(fn: PciFunction): number {
    if (this.#slots.length === SLOTS) throw enospc('PCI bus 0 is full');
    return this.#slots.push(fn) - 1;
  }

  /** The slot that the next function gets. */
  get nextSlot(): number {
    return this.#slots.length;
  }

  mapInto(bus: SystemBus): void {
    bus.map(PCIE_ECAM, this.#ecam());
    bus.map(PCIE_MMIO32, this.#memoryWindow(PCIE_MMIO32.base));
    bus.map(PCIE_MMIO64, this.#memoryWindow(PCIE_MMIO64.base));
    bus.map(PCIE_PIO, { maxAccess: 4, load: (_offset, size) => allOnes(size), store: () => true });
  }

  reset(): void {
    for (const fn of this.#slots) if (fn && !fn.isGone) fn.reset();
  }

  /** The ECAM window. PCIe 6.0 §7.2.2: bus << 20 | device << 15 | function << 12 | register. */
  #ecam(): MmioDevice {
    const find = (offset: number): PciFunction | undefined => {
      const fn = offset >>> 20 === 0 && ((offset >>> 12) & 7) === 0 ? this.#slots[(offset >>> 15) & 31] : undefined;
      return fn && !fn.isGone && (offset & 0xfff) < fn.configSize ? fn : undefined;
    };
    return {
      maxAccess: 4,
      load: (offset, size) => {
        const fn = find(offset);
        return fn ? BigInt(fn.readConfig(offset & 0xfff, size as ConfigSize)) : allOnes(size);
      },
      store: (offset, size, value) => {
        find(offset)?.writeConfig(offset & 0xfff, size as ConfigSize, Number(value));
        return true;
      },
    };
  }

  #memoryWindow(windowBase: number): MmioDevice {
    return {
      maxAccess: 8,
      load: (offset, size) => {
        const target = this.#decode(windowBase + offset, size);
        if (!target) return allOnes(size);
        return target.fn.loadBar(target.window.bar, windowBase + offset - target.window.base, size);
      },
      store: (offset, size, value) => {
        const target = this.#decode(windowBase + offset, size);
        target?.fn.storeBar(target.window.bar, windowBase + offset - target.window.base, size, value);
        return true;
      },
    };
  }

  #decode(at: number, size: number): Target | undefined {
    for (const fn of this.#slots) {
      if (!fn || fn.isGone) continue;
      for (const window of fn.windows()) {
        if (at >= window.base && at + size <= window.base + window.size) return { window, fn };
      }
    }
    return undefined;
  }
}
