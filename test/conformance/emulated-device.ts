/** The recorded `kvemu` devices: a vfio device with an emulated IOMMU that pins, unpins and accesses iovas when told. */

import { splitIova } from '../../iommu/bus/dma.ts';
import type { Task } from '../../iommu/kernel/core/task.ts';
import { MediatedService } from '../../iommu/kernel/mdev/service.ts';
import type { DmaUnmapListener, IommuGroup } from '../../iommu/kernel/vfio/container-iommu.ts';
import type { Type1 } from '../../iommu/kernel/vfio/type1/type1.ts';
import { enoent } from '../../platform/errno.ts';

interface Pin {
  readonly vpn: number;
  readonly nrPages: number;
}

export class EmulatedDevice implements DmaUnmapListener {
  readonly #group: IommuGroup;
  readonly #service = new MediatedService(this);
  #pins: Pin[] = [];
  #log = '';

  constructor(group: IommuGroup) {
    this.#group = group;
  }

  open(type1: Type1): void {
    this.#service.opened({ iommuGroup: this.#group, devices: [this], container: { iommu: type1 } });
  }

  close(): void {
    for (const pin of this.#pins) this.#service.unpinPages(pin.vpn, pin.nrPages);
    this.#pins = [];
    this.#service.closed();
  }

  dmaUnmap(vpn: number, nrPages: number): void {
    this.#log += `cb:${(vpn * 4096).toString(16)}+${(nrPages * 4096).toString(16)};`;
    const overlaps = (pin: Pin): boolean => pin.vpn < vpn + nrPages && vpn < pin.vpn + pin.nrPages;
    for (const pin of this.#pins.filter(overlaps)) this.#service.unpinPages(pin.vpn, pin.nrPages);
    this.#pins = this.#pins.filter((pin) => !overlaps(pin));
  }

  async pin(iova: bigint, nrPages: number, prot: number, task: Task): Promise<number> {
    const { vpn } = splitIova(iova);
    await this.#service.pinPages({ vpn, nrPages, prot, killed: task.killed });
    this.#pins.push({ vpn, nrPages });
    return nrPages;
  }

  unpin(iova: bigint, nrPages: number): void {
    const { vpn } = splitIova(iova);
    const at = this.#pins.findIndex((pin) => pin.vpn === vpn && pin.nrPages === nrPages);
    if (at < 0) throw enoent('not pinned');
    this.#pins.splice(at, 1);
    this.#service.unpinPages(vpn, nrPages);
  }

  async rw(iova: bigint, data: Uint8Array, write: boolean, caller: Task): Promise<void> {
    await this.#service.dmaRw({ ...splitIova(iova), data, write, caller });
  }

  takeLog(): string {
    const log = this.#log;
    this.#log = '';
    return log;
  }
}
