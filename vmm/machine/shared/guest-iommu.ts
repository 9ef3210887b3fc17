/**
 * The guest's own RISC-V IOMMU, as QEMU's `virt` has it with `iommu-sys=on`: registers in the
 * memory map, and functions inside the VMM behind it. The hardware is that of the board
 * (iommu/hardware). The thread that owns the shared devices runs all of it, so a fence finds every
 * port idle.
 *
 * The unit's wires are levels: the one that icvec names is up while a bit of ipsr and fctl.WSI are
 * set. QEMU pulses it; a pulse before the completion of the one before would be lost.
 */
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import { createPortCounters } from '../../../iommu/bus/counters.ts';
import type { Dma } from '../../../iommu/bus/dma.ts';
import type { PhysicalMemory } from '../../../iommu/bus/physical.ts';
import { DmaPort } from '../../../iommu/hardware/port.ts';
import { FCTL_WSI, IPSR_CIP, IPSR_FIP, REG } from '../../../iommu/hardware/regs.ts';
import { IommuUnit } from '../../../iommu/hardware/unit.ts';
import { createUnit } from '../../../iommu/hardware/unit-memory.ts';
import { einval } from '../../../platform/errno.ts';
import { defineSection, type StateOf } from '../../../platform/section.ts';
import { integer, list } from '../../../platform/shape.ts';
import type { MmioDevice } from './bus.ts';
import { IOMMU_IRQ } from './memory-map.ts';
import { deviceId } from './pci-host.ts';

/** The registers, in words of 32 bits. Queues and tables are in the guest's RAM. */
export const IOMMU_SECTION = defineSection('iommu', 1, { registers: list(integer, REG.end / 4) });

export type IommuState = StateOf<typeof IOMMU_SECTION>;

/** Wires from IOMMU_IRQ on. */
const WIRES = [0, 1, 2, 3] as const;
/** A bit of ipsr, and the place of the number of its wire in icvec (IOMMU spec §5.28). */
const CAUSES = [
  { pending: IPSR_CIP, vectorAt: 0 },
  { pending: IPSR_FIP, vectorAt: 4 },
] as const;

export interface GuestIommuOptions {
  readonly physical: PhysicalMemory;
  /** The most ports. */
  readonly ports: number;
  /** Drives the wire of an interrupt source; absent where nothing is wired. */
  readonly drive?: ((source: number, up: boolean) => void) | undefined;
}

export class GuestIommu implements MmioDevice {
  readonly maxAccess = 8;
  readonly #shared: SharedArrayBuffer;
  readonly #unit: IommuUnit;
  readonly #options: GuestIommuOptions;
  #ports = 0;

  constructor(options: GuestIommuOptions) {
    this.#options = options;
    this.#shared = createUnit({ agents: Math.max(options.ports, 1) });
    this.#unit = new IommuUnit(this.#shared, options.physical, this.#driveWires);
  }

  /** The DMA port of the function in this slot of bus 0. */
  port(slot: number): Dma {
    return new DmaPort({
      unit: this.#shared,
      agent: this.#ports++,
      did: deviceId(slot),
      physical: this.#options.physical,
      wire: this.#driveWires,
      counters: createPortCounters(),
    });
  }

  load(offset: number, size: AccessSize): bigint | undefined {
    return size < 4 ? undefined : this.#unit.readRegister(offset, size as 4 | 8);
  }

  store(offset: number, size: AccessSize, value: bigint): boolean {
    if (size < 4) return false;
    this.#unit.writeRegister(offset, size as 4 | 8, value);
    this.#driveWires();
    return true;
  }

  #driveWires = (): void => {
    const pending = this.#unit.read32(REG.fctl) & FCTL_WSI ? this.#unit.read32(REG.ipsr) : 0;
    const vectors = this.#unit.read32(REG.icvec);
    const wanted: readonly number[] = CAUSES.filter((cause) => pending & cause.pending).map(
      ({ vectorAt }) => (vectors >>> vectorAt) & 0xf,
    );
    for (const wire of WIRES) this.#options.drive?.(IOMMU_IRQ + wire, wanted.includes(wire));
  };

  reset(): void {
    this.#unit.reset();
    this.#driveWires();
  }

  save(): IommuState {
    return IOMMU_SECTION.of({ registers: this.#unit.save() });
  }

  /**
   * Takes its state; `behind` restores the functions behind it. These may make accesses, whose
   * faults are not told to the guest. EINVAL: the guest has seen another unit.
   */
  restore({ registers }: IommuState, behind: () => void): void {
    const [low, high] = this.#unit.save();
    if (registers[0] !== low || registers[1] !== high) throw einval('section iommu: a unit with other capabilities');
    this.#unit.restore(registers.map((value, word) => (word === REG.fqcsr / 4 ? 0 : value)));
    behind();
    this.#unit.restore(registers);
    this.#driveWires();
  }
}
