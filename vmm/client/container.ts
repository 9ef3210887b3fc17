/**
 * System calls on a container fd, /dev/vfio/vfio. Each function makes one call, which returns or
 * throws the errno of the kernel (SysError).
 */
import { Type1InfoCapReservedMsi, VFIO_IOMMU_TYPE1_INFO_CAP_RESERVED_MSI } from '../../iommu/abi/reserved-msi.ts';
import {
  InfoCapHeader,
  IovaRange,
  Type1Info,
  Type1InfoCapIovaRange,
  Type1InfoDmaAvail,
  VFIO_API_VERSION,
  VFIO_CHECK_EXTENSION,
  VFIO_GET_API_VERSION,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
  VFIO_SET_IOMMU,
  VFIO_TYPE1v2_IOMMU,
} from '../../iommu/abi/vfio.ts';
import { VFIO_CONTAINER_PATH } from '../../iommu/abi/wire.ts';
import { einval } from '../../platform/errno.ts';
import { viewOf } from '../../platform/struct.ts';
import { getGroupStatus, openGroup, setContainer } from './group.ts';
import type { KernelClient } from './kernel-client.ts';
import type { FileCalls } from './task-channel.ts';

/** open(2) of /dev/vfio/vfio: a container without groups. EINVAL: another version of the API. */
export function openEmptyContainer(client: KernelClient): number {
  const fd = client.open(VFIO_CONTAINER_PATH);
  const version = getApiVersion(client, fd);
  if (version !== VFIO_API_VERSION) throw einval(`the host speaks VFIO API ${version}, not ${VFIO_API_VERSION}`);
  return fd;
}

/** A container, and its groups in the order in which they were asked for. */
export interface OpenContainer {
  readonly fd: number;
  readonly groups: readonly number[];
}

/**
 * Opens a fresh container with the groups of these numbers and sets the IOMMU type, by default
 * type1v2. Throws the errno of the first call that fails.
 */
export function openContainer(
  client: KernelClient,
  groups: readonly number[],
  iommuType = VFIO_TYPE1v2_IOMMU,
): OpenContainer {
  const fd = openEmptyContainer(client);
  const groupFds = groups.map((group) => joinContainer(client, group, fd));
  setIommu(client, fd, iommuType);
  return { fd, groups: groupFds };
}

/** Opens a group and puts it into a container; returns its fd. EINVAL: the group is not viable. */
export function joinContainer(client: KernelClient, group: number, container: number): number {
  const fd = openGroup(client, group);
  if ((getGroupStatus(client, fd) & VFIO_GROUP_FLAGS_VIABLE) === 0) throw einval(`VFIO group ${group} is not viable`);
  setContainer(client, fd, container);
  return fd;
}

/** VFIO_GET_API_VERSION */
export function getApiVersion(calls: FileCalls, container: number): number {
  return calls.ioctl(container, VFIO_GET_API_VERSION, 0);
}

/** VFIO_CHECK_EXTENSION: above 0 when the kernel has the extension or IOMMU type. */
export function checkExtension(calls: FileCalls, container: number, extension: number): number {
  return calls.ioctl(container, VFIO_CHECK_EXTENSION, extension);
}

/**
 * VFIO_SET_IOMMU: VFIO_TYPE1v2_IOMMU or VFIO_TYPE1_IOMMU. EINVAL: no group is in the container, or
 * it has a type.
 */
export function setIommu(calls: FileCalls, container: number, type: number): void {
  calls.ioctl(container, VFIO_SET_IOMMU, type);
}

/** The answer to VFIO_IOMMU_GET_INFO. */
export interface Type1Facts {
  /** Bitmap of the page sizes. */
  readonly pgsizes: bigint;
  /** The ranges of iovas that can be mapped; `last` is the last byte of each. */
  readonly iovas: readonly { readonly start: bigint; readonly last: bigint }[];
  /** How many more mappings there is room for. */
  readonly dmaAvail: number;
  /** The window that MSIs need from the user, if they do. In bytes. */
  readonly msiWindow?: { readonly size: bigint; readonly alignment: bigint };
}

/** The info structs and all their capabilities fit into this. */
const INFO_BYTES = 4096;

/** VFIO_IOMMU_GET_INFO: struct vfio_iommu_type1_info and its capabilities. */
export function getType1Info(calls: FileCalls, container: number): Type1Facts {
  const arg = Type1Info.bytes({ argsz: INFO_BYTES }, INFO_BYTES);
  calls.ioctl(container, VFIO_IOMMU_GET_INFO, arg);
  const view = viewOf(arg);
  const { iova_pgsizes: pgsizes, cap_offset } = Type1Info.read(view);
  let dmaAvail = 0;
  let msiWindow: Type1Facts['msiWindow'];
  let iovas: Type1Facts['iovas'] = [];
  for (let at = cap_offset; at !== 0; at = InfoCapHeader.read(view, at).next) {
    const { id } = InfoCapHeader.read(view, at);
    if (id === VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL) dmaAvail = Type1InfoDmaAvail.read(view, at).avail;
    if (id === VFIO_IOMMU_TYPE1_INFO_CAP_RESERVED_MSI) {
      const { size, alignment } = Type1InfoCapReservedMsi.read(view, at);
      msiWindow = { size, alignment };
    }
    if (id === VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) iovas = iovaRanges(view, at);
  }
  return { pgsizes, iovas, dmaAvail, ...(msiWindow ? { msiWindow } : {}) };
}

function iovaRanges(view: DataView, at: number): Type1Facts['iovas'] {
  const { nr_iovas } = Type1InfoCapIovaRange.read(view, at);
  return Array.from({ length: nr_iovas }, (_, i) => {
    const { start, end } = IovaRange.read(view, at + Type1InfoCapIovaRange.size + i * IovaRange.size);
    return { start, last: end };
  });
}
