/**
 * The VFIO subsystem of one kernel: its nodes under /dev/vfio, its groups and containers.
 *
 * The names of things around IOMMUs, each with its name in Linux:
 * - IommuDevice (struct iommu_device): one IOMMU in front of devices. RiscvIommu is the only kind.
 * - IommuDomain (struct iommu_domain): one address space of devices. RiscvIommu makes RiscvDomains.
 * - IommuOps (struct iommu_ops): what IOMMUs of one kind have in common.
 * - IommuGroup (struct iommu_group): devices that only one user can have. Group (struct vfio_group)
 *   is VFIO's view of an IommuGroup.
 * - VfioIommuDriver (struct vfio_iommu_driver): a backend for containers. Type1Driver is one;
 *   iommufd would be another.
 * - ContainerIommu (iommu_data): the backend's part of one container; for type1 that is Type1 with
 *   its VfioIommu (struct vfio_iommu).
 */
import { eacces, enoent } from '../../../platform/errno.ts';
import type { HostInfo } from '../../abi/control.ts';
import { VFIO_CONTAINER_PATH, VFIO_GROUP_DIR } from '../../abi/wire.ts';
import type { FileOperations } from '../core/open-file.ts';
import type { Profile } from '../core/profile.ts';
import { Container, type Persistence } from './container.ts';
import type { IommuGroup, VfioIommuDriver } from './container-iommu.ts';
import type { VfioDevice } from './device.ts';
import { Group } from './group.ts';

export interface VfioOptions {
  readonly profile: Profile;
  readonly type1: VfioIommuDriver;
  /** Every device is alone in its group. */
  readonly devices: readonly { readonly device: VfioDevice; readonly iommuGroup: IommuGroup }[];
  /** Where page tables can lie that outlive the kernel. */
  readonly persistence?: Persistence | undefined;
  /** A container is gone for good. */
  readonly onContainerGone: () => void;
}

export class Vfio {
  readonly groups: readonly Group[];
  readonly containers = new Set<Container>();
  readonly #options: VfioOptions;

  constructor(options: VfioOptions) {
    const { profile, devices } = options;
    this.#options = options;
    this.groups = devices.map(({ device, iommuGroup }) => new Group({ iommuGroup, devices: [device], profile }));
  }

  /**
   * open(2) of a node. `mayOpenGroups` is true for the host's user: group nodes belong to that user
   * and have mode 0600. The container's node has mode 0666.
   */
  open(path: string, mayOpenGroups: boolean): FileOperations {
    if (path === VFIO_CONTAINER_PATH) return this.#openContainer();
    const number = path.startsWith(VFIO_GROUP_DIR) ? path.slice(VFIO_GROUP_DIR.length) : '';
    const group = this.groups.find(({ id }) => String(id) === number);
    // a group without devices is no group (PCI-14)
    if (!group || group.devices.every(({ gone }) => gone)) throw enoent(`no such file: ${path}`);
    if (!mayOpenGroups) throw eacces(`${path} belongs to the user of the host`);
    return group.open();
  }

  /** For /dev/livevmm. */
  info(): Pick<HostInfo, 'groups' | 'containers'> {
    return {
      groups: this.groups.map((group) => group.info()),
      containers: [...this.containers].map((container) => container.info()),
    };
  }

  #openContainer(): Container {
    const { type1, onContainerGone, persistence } = this.#options;
    const onEmpty = (gone: Container): void => {
      this.containers.delete(gone);
      onContainerGone();
    };
    const container = new Container(type1, onEmpty, persistence);
    this.containers.add(container);
    return container;
  }
}
