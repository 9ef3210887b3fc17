/**
 * Files that outlive the host's kernel, /dev/pkernfs/<name>. Each function throws the errno of the
 * kernel (SysError); ENOENT if the host has no such memory.
 */
import { constants } from 'node:fs';

import {
  SetPersistentPgtables,
  VFIO_CONTAINER_SET_PERSISTENT_ENTRIES,
  VFIO_CONTAINER_SET_PERSISTENT_PGTABLES,
  VFIO_DMA_MAP_FLAG_LIVE_UPDATE,
} from '../../iommu/abi/persistent-tables.ts';
import { PKERNFS_PATH, type PkernfsEntry } from '../../iommu/abi/wire.ts';
import { codeOf } from '../../platform/errno.ts';
import { READ_WRITE } from './dma.ts';
import type { KernelClient } from './kernel-client.ts';
import type { FileCalls } from './task-channel.ts';

/** MAP_DMA: the translations are there already, from before the kernel. */
export const LIVE_UPDATE = VFIO_DMA_MAP_FLAG_LIVE_UPDATE | READ_WRITE;

const pathOf = (name: string): string => `${PKERNFS_PATH}/${name}`;

/** Opens a file, also one that is not there yet. */
export const openPersistent = (client: KernelClient, name: string): number =>
  client.open(pathOf(name), constants.O_CREAT);

/** All files of the host. */
export function listPersistent(client: KernelClient): readonly PkernfsEntry[] {
  const directory = client.open(PKERNFS_PATH);
  try {
    return client.getdents(directory);
  } finally {
    client.close(directory);
  }
}

/** Makes a file of `size` bytes, all zero, in place of one that is there. Returns its memory. */
export function createPersistent(client: KernelClient, name: string, size: number): number {
  removePersistent(client, name);
  const file = client.open(pathOf(name), constants.O_CREAT | constants.O_EXCL);
  try {
    client.ftruncate(file, size);
    return client.memoryOf(file, size);
  } finally {
    client.close(file);
  }
}

/** The memory of a file that is there, `size` bytes of it. */
export function findPersistent(client: KernelClient, name: string, size: number): number {
  const file = client.open(pathOf(name));
  try {
    return client.memoryOf(file, size);
  } finally {
    client.close(file);
  }
}

/** Removes a file; no effect if there is none. EBUSY: devices can reach it. */
export function removePersistent(client: KernelClient, name: string): void {
  const directory = client.open(PKERNFS_PATH);
  try {
    client.unlinkat(directory, name);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  } finally {
    client.close(directory);
  }
}

/**
 * VFIO_CONTAINER_SET_PERSISTENT_ENTRIES: `file` is an open file below vfio/. The mappings outlive
 * the kernel, too: none has to be made again. Errors as setPersistentTables, which comes first.
 */
export function setPersistentEntries(calls: FileCalls, container: number, file: number): void {
  const arg = SetPersistentPgtables.bytes({ persistent_pgtables_fd: file });
  calls.ioctl(container, VFIO_CONTAINER_SET_PERSISTENT_ENTRIES, arg);
}

/**
 * VFIO_CONTAINER_SET_PERSISTENT_PGTABLES: `file` is an open file below iommu/. EBADF: it is no such
 * file; EINVAL: after SET_IOMMU; EEXIST, EBUSY: one container, one file.
 */
export function setPersistentTables(calls: FileCalls, container: number, file: number): void {
  const arg = SetPersistentPgtables.bytes({ persistent_pgtables_fd: file });
  calls.ioctl(container, VFIO_CONTAINER_SET_PERSISTENT_PGTABLES, arg);
}
