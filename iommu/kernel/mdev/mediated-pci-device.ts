/**
 * A PCI function with no IOMMU in front of it, as a user of VFIO sees it. It offers all of
 * vfio-pci. The kernel makes its memory accesses for as long as the device is open.
 */
import type { DeviceInfo, FunctionFacts, TimelineReply } from '../../abi/control.ts';
import type { DeviceGroup, DeviceOps, VfioDevice } from '../vfio/device.ts';
import type { PciDevice } from '../vfio/pci/device.ts';
import type { DeviceAccesses } from './device-accesses.ts';

export class MediatedPciDevice implements VfioDevice {
  readonly #pci: PciDevice;
  readonly #accesses: DeviceAccesses;

  constructor(pci: PciDevice, accesses: DeviceAccesses) {
    this.#pci = pci;
    this.#accesses = accesses;
  }

  get name(): string {
    return this.#pci.name;
  }

  matches(name: string): boolean {
    return this.#pci.matches(name);
  }

  get openCount(): number {
    return this.#pci.openCount;
  }

  open(released: () => void, group: DeviceGroup): DeviceOps {
    const file = this.#pci.open(() => {
      if (this.openCount === 0) this.#accesses.closed(); // bus master is off by now
      released();
    });
    if (this.openCount === 1) this.#accesses.opened(group); // bus master is still off
    return file;
  }

  get bdf(): number {
    return this.#pci.bdf;
  }

  /** For /dev/livevmm, as in PciDevice. */
  facts(): FunctionFacts {
    return this.#pci.facts();
  }

  romImages(offset: number): Uint8Array {
    return this.#pci.romImages(offset);
  }

  info(interruptsSent: number): DeviceInfo {
    return { ...this.#pci.info(interruptsSent), blocks: this.#accesses.blocks };
  }

  get leaving(): boolean {
    return this.#pci.leaving;
  }

  get gone(): boolean {
    return this.#pci.gone;
  }

  unbind(): Promise<void> {
    return this.#pci.unbind();
  }

  errorDetected(): void {
    this.#pci.errorDetected();
  }

  timeline(fromNs: number, toNs: number): TimelineReply {
    return this.#pci.timeline(fromNs, toNs);
  }

  /** Without an IOMMU nothing outlives the kernel: the device stops. */
  leaveToNextKernel(): void {}

  /** The kernel ends. `left`: the next one gets the device's port. */
  close(left: boolean): void {
    this.#accesses.close(left);
  }
}
