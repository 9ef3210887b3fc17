/**
 * A VFIO container as a VMM uses it: groups put in, type1v2, guest RAM mapped at iova = gpa. It remembers its ranges, because an
 * exec update gives each of them a new vaddr with the same iova and size (spec VAD-16, CPR-1).
 */
import {
  DmaMap,
  DmaUnmap,
  GroupStatus,
  VFIO_API_VERSION,
  VFIO_CHECK_EXTENSION,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VFIO_GET_API_VERSION,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_SET_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  VFIO_UNMAP_ALL,
  VFIO_UPDATE_VADDR,
} from '../../iommu/abi/vfio.ts';
import { VFIO_CONTAINER_PATH, VFIO_GROUP_DIR } from '../../iommu/abi/wire.ts';
import { einval, eopnotsupp } from '../../platform/errno.ts';
import { integer, list, object, type Shaped } from '../../platform/shape.ts';
import { viewOf } from '../../platform/struct.ts';
import type { KernelClient } from './kernel-client.ts';

/** One MAP_DMA: [iova, iova+size) is the memory at `offset` bytes into guest RAM. */
const DMA_RANGE = object({ iova: integer, offset: integer, size: integer });

export type DmaRange = Shaped<typeof DMA_RANGE>;

/** What of a container survives its process: its fds stay open, its ranges get new vaddrs. */
export const CONTAINER_STATE = object({
  fd: integer,
  groups: list(object({ group: integer, fd: integer })),
  ranges: list(DMA_RANGE),
});

export type ContainerState = Shaped<typeof CONTAINER_STATE>;

export class Container {
  readonly fd: number;
  readonly #client: KernelClient;
  readonly #groups: { group: number; fd: number }[];
  readonly #ranges: DmaRange[];

  /** A container of `state`, whose fds this process inherited, or a fresh one without groups. */
  constructor(client: KernelClient, state?: ContainerState) {
    this.#client = client;
    this.fd = state?.fd ?? client.open(VFIO_CONTAINER_PATH);
    this.#groups = [...(state?.groups ?? [])];
    this.#ranges = [...(state?.ranges ?? [])];
    if (state) return;
    const version = client.ioctl(this.fd, VFIO_GET_API_VERSION, 0);
    if (version !== VFIO_API_VERSION) throw einval(`the host speaks VFIO API ${version}, not ${VFIO_API_VERSION}`);
  }

  save(): ContainerState {
    return { fd: this.fd, groups: [...this.#groups], ranges: [...this.#ranges] };
  }

  /** Puts a group in; the first one also chooses the IOMMU type. Returns the group's fd. */
  addGroup(group: number): number {
    const fd = this.#client.open(`${VFIO_GROUP_DIR}${group}`);
    this.#groups.push({ group, fd });
    const status = GroupStatus.bytes({ argsz: GroupStatus.size });
    this.#client.ioctl(fd, VFIO_GROUP_GET_STATUS, status);
    if ((GroupStatus.read(viewOf(status)).flags & VFIO_GROUP_FLAGS_VIABLE) === 0) {
      throw einval(`VFIO group ${group} is not viable`);
    }
    const container = new Uint8Array(new Int32Array([this.fd]).buffer);
    this.#client.ioctl(fd, VFIO_GROUP_SET_CONTAINER, container);
    if (this.#groups.length === 1) this.#client.ioctl(this.fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU);
    return fd;
  }

  /** A fd of a device in one of the container's groups. */
  openDevice(groupFd: number, bdf: string): number {
    return this.#client.ioctl(groupFd, VFIO_GROUP_GET_DEVICE_FD, new TextEncoder().encode(`${bdf}\0`));
  }

  /** Lets the container's devices read and write `range`, which is RAM that begins at `ramVaddr`. */
  map(range: DmaRange, ramVaddr: number): void {
    const map = dmaMap(range, ramVaddr, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
    this.#client.ioctl(this.fd, VFIO_IOMMU_MAP_DMA, DmaMap.bytes(map));
    this.#ranges.push(range);
  }

  /** Whether an exec update is possible: both extensions answer 1 (CPR-1). EOPNOTSUPP names the one that does not. */
  checkUpdatable(): void {
    const needed = { UPDATE_VADDR: VFIO_UPDATE_VADDR, UNMAP_ALL: VFIO_UNMAP_ALL };
    for (const [name, extension] of Object.entries(needed)) {
      if (this.#client.ioctl(this.fd, VFIO_CHECK_EXTENSION, extension) !== 1) {
        throw eopnotsupp(`the host's VFIO container has no ${name}: it cannot keep DMA going over an update`);
      }
    }
  }

  /** All vaddrs become invalid; translations stay as they are (UNM-10). */
  invalidateVaddrs(): void {
    const flags = VFIO_DMA_UNMAP_FLAG_VADDR | VFIO_DMA_UNMAP_FLAG_ALL;
    this.#client.ioctl(this.fd, VFIO_IOMMU_UNMAP_DMA, DmaUnmap.bytes({ argsz: DmaUnmap.size, flags }));
  }

  /** Every range gets its vaddr in RAM that now begins at `ramVaddr` (MAP-6). */
  updateVaddrs(ramVaddr: number): void {
    const args = new Uint8Array(this.#ranges.length * DmaMap.size);
    const view = viewOf(args);
    this.#ranges.forEach((range, i) => {
      DmaMap.write(view, dmaMap(range, ramVaddr, VFIO_DMA_MAP_FLAG_VADDR), i * DmaMap.size);
    });
    this.#client.ioctls(this.fd, VFIO_IOMMU_MAP_DMA, args, DmaMap.size);
  }
}

function dmaMap({ iova, offset, size }: DmaRange, ramVaddr: number, flags: number): Parameters<typeof DmaMap.bytes>[0] {
  return { argsz: DmaMap.size, flags, vaddr: BigInt(ramVaddr + offset), iova: BigInt(iova), size: BigInt(size) };
}
