/** Memory and a BAR behind an IOMMU unit, in one thread. */
import { MSI_WINDOW_START } from '../../iommu/abi/msi-window.ts';
import { BarGate, createBarGate } from '../../iommu/bus/bar-gate.ts';
import { createPortCounters } from '../../iommu/bus/counters.ts';
import { createDoorbellTable } from '../../iommu/bus/interrupts.ts';
import { PhysicalMemory } from '../../iommu/bus/physical.ts';
import { DmaPort } from '../../iommu/hardware/port.ts';
import { IommuUnit } from '../../iommu/hardware/unit.ts';
import { createUnit } from '../../iommu/hardware/unit-memory.ts';
import { IOMMU_READ, IOMMU_WRITE } from '../../iommu/kernel/driver/domain.ts';
import { RiscvIommu } from '../../iommu/kernel/driver/riscv-iommu.ts';
import { close } from '../../platform/libc/fd.ts';
import { createMemory, Mapping } from '../../platform/memory.ts';
import { PAGE_SIZE } from '../../platform/page.ts';

const MiB = 2 ** 20;
const GiB = 2 ** 30;
export const RAM_BYTES = 64 * MiB;
const RAM_PA = 4 * GiB;
const KERNEL_RAM = { start: GiB, size: 16 * MiB };
const DOORBELL = { start: 2 * GiB, size: PAGE_SIZE };
const DID = 0x10;
/** First page of the iova range of RAM: not the same as the pa. */
export const RAM_VPN = (8 * GiB) / PAGE_SIZE;
const BAR_PA = 3 * GiB;
/** First page of the iova range of the BAR. */
export const BAR_VPN = (16 * GiB) / PAGE_SIZE;
export const BAR_BYTES = 4 * MiB;
const WINDOW_VPN = (24 * GiB) / PAGE_SIZE;

function map(size: number): SharedArrayBuffer {
  const fd = createMemory('bench', size);
  const { buffer } = new Mapping(fd, size);
  close(fd);
  return buffer;
}

/**
 * A unit whose port for DID finds RAM_BYTES of memory at iova RAM_VPN, in leaves of up to
 * 2^maxPgshift bytes, and another device's memory BAR at BAR_VPN. Its MSIs go to page `msiVpn`, by
 * an MSI page table or through a donated window. `release` closes the BAR's object.
 */
export function translatedMemory(maxPgshift: 12 | 30, msi: 'flat' | 'donated' = 'flat') {
  const ram = map(RAM_BYTES);
  const fd = createMemory('bench BAR', BAR_BYTES);
  const gate = createBarGate();
  new BarGate(gate).setDecoding(true);
  const physical = new PhysicalMemory([
    { kind: 'ram', ...KERNEL_RAM, buffer: map(KERNEL_RAM.size) },
    { kind: 'ram', start: RAM_PA, size: RAM_BYTES, buffer: ram },
    { kind: 'bar', start: BAR_PA, size: BAR_BYTES, fd, at: 0, gate },
    { kind: 'doorbell', ...DOORBELL, interrupts: createDoorbellTable() },
  ]);
  const unitMemory = createUnit({ agents: 1, msiFlat: msi === 'flat' });
  const wire = (): void => {};
  const unit = new IommuUnit(unitMemory, physical, wire);
  const board = { unit, physical, kernelRam: KERNEL_RAM, doorbell: DOORBELL };
  const driver = new RiscvIommu({ ...board, maxPgshift, donatedMsi: msi === 'donated' });
  const domain = driver.allocDomain();
  domain.map(RAM_VPN, RAM_PA / PAGE_SIZE, RAM_BYTES / PAGE_SIZE, IOMMU_READ | IOMMU_WRITE);
  domain.map(BAR_VPN, BAR_PA / PAGE_SIZE, BAR_BYTES / PAGE_SIZE, IOMMU_READ | IOMMU_WRITE);
  driver.attach(DID, domain);
  domain.donatedWindow?.set(WINDOW_VPN, 1);
  const msiVpn = domain.donatedWindow?.acquire(DOORBELL.start / PAGE_SIZE) ?? MSI_WINDOW_START / PAGE_SIZE;
  const counters = createPortCounters();
  const port = new DmaPort({ unit: unitMemory, agent: 0, did: DID, physical, wire, counters });
  return { bytes: new Uint8Array(ram), port, counters, msiVpn, release: () => close(fd) };
}
