/**
 * The VFIO core's services for drivers of devices without an IOMMU (mediated devices):
 * vfio_pin_pages, vfio_unpin_pages, vfio_dma_rw, and the notification of unmaps
 * (drivers/vfio/vfio.c 5.15, vfio_main.c 6.x; MDV-1…6). The CPU makes the memory accesses of such a
 * device, through the current vaddr. While the vaddr is invalid, 5.12–6.2 let the call sleep and
 * later kernels refuse it (VAD-1…15).
 *
 * 5.12 registers a notifier for the group; 6.0 and later register a device with its dma_unmap
 * callback. Here both are one thing.
 */
import { e2big, einval, SysError } from '../../../platform/errno.ts';
import type { ContainerIommu, DmaUnmapListener, PinRequest, RwRequest } from '../vfio/container-iommu.ts';
import type { DeviceGroup } from '../vfio/device.ts';

/** VFIO_PIN_PAGES_MAX_ENTRIES */
const MAX_PIN_PAGES = 512;

/** One device's use of these services, from the first open of the device to the last close. */
export class MediatedService {
  readonly #listener: DmaUnmapListener | undefined;
  #group: DeviceGroup | undefined;

  /** `listener` is told of unmaps. Without a listener no page can be pinned (MDV-2). */
  constructor(listener?: DmaUnmapListener) {
    this.#listener = listener;
  }

  opened(group: DeviceGroup): void {
    this.#group = group;
    if (this.#listener) this.#container(group).registerDevice?.(this.#listener);
  }

  closed(): void {
    if (this.#listener && this.#group) this.#container(this.#group).unregisterDevice?.(this.#listener);
    this.#group = undefined;
  }

  /** vfio_pin_pages: pins all pages or none, and returns the pfns. */
  async pinPages(request: Omit<PinRequest, 'group'>): Promise<readonly number[]> {
    const { nrPages } = request;
    if (nrPages <= 0) throw einval('pin_pages: no pages');
    if (nrPages > MAX_PIN_PAGES) throw e2big(`pin_pages: ${nrPages} pages`);
    const group = this.#openGroup();
    const iommu = this.#container(group);
    if (!iommu.pinPages) throw notSupported('pin_pages');
    return iommu.pinPages({ ...request, group: group.iommuGroup });
  }

  /** vfio_unpin_pages */
  unpinPages(vpn: number, nrPages: number): number | Promise<number> {
    const iommu = this.#container(this.#openGroup());
    if (!iommu.unpinPages) throw notSupported('unpin_pages');
    return iommu.unpinPages(vpn, nrPages);
  }

  /** vfio_dma_rw: ContainerIommu.dmaRw. */
  dmaRw(request: RwRequest): boolean | Promise<boolean> {
    const iommu = this.#container(this.#openGroup());
    if (!iommu.dmaRw) throw notSupported('dma_rw');
    return iommu.dmaRw(request);
  }

  #openGroup(): DeviceGroup {
    // the group does not use the container (vfio_group_add_container_user)
    if (!this.#group) throw einval('the device is not open');
    if (this.#group.nrDevices > 1) throw einval('its group has several devices');
    return this.#group;
  }

  #container({ container }: DeviceGroup): ContainerIommu {
    if (!container?.iommu) throw einval('its group is in no container with an IOMMU');
    return container.iommu;
  }
}

const notSupported = (what: string): SysError => new SysError('ENOTTY', `the IOMMU driver has no ${what}`);
