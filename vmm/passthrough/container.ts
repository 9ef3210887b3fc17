/**
 * The container of a VMM's devices: it contains their groups, has type1v2, and maps guest RAM at
 * iova = gpa. It remembers its ranges, because an exec update gives each of them a new vaddr with
 * the same iova and size (VAD-16, CPR-1).
 */
import {
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VFIO_TYPE1v2_IOMMU,
  VFIO_UNMAP_ALL,
  VFIO_UPDATE_VADDR,
} from '../../iommu/abi/vfio.ts';
import { codeOf, eopnotsupp } from '../../platform/errno.ts';
import { fd } from '../../platform/fd-shape.ts';
import { integer, list, object, type Shaped } from '../../platform/shape.ts';
import { checkExtension, getType1Info, joinContainer, openEmptyContainer, setIommu } from '../client/container.ts';
import type { DeviceDescription } from '../client/device.ts';
import {
  beginInvalidateVaddrs,
  beginMapDmas,
  type DmaMapping,
  donateMsiWindow,
  mapDma,
  unmapDma,
} from '../client/dma.ts';
import type { KernelClient } from '../client/kernel-client.ts';
import { openPersistent, setPersistentEntries, setPersistentTables } from '../client/pkernfs.ts';
import { PEER_BARS, type PeerBarState, PeerBars } from './peer-bars.ts';
import { type PersistentGuest, persistentFiles } from './persistent-files.ts';

/** Iovas for MSIs, where the host wants them from us. The guest's machine has nothing there. */
const MSI_IOVAS = { iova: 0x0800_0000, size: 0x10_0000 } as const;

/** One MAP_DMA. [iova, iova+size) is the memory at `offset` bytes into guest RAM. */
const DMA_RANGE = object({ iova: integer, offset: integer, size: integer });

export type DmaRange = Shaped<typeof DMA_RANGE>;

/**
 * The part of a container that survives its process: its fds stay open, its ranges get new vaddrs.
 */
const CONTAINER_FIELDS = { fd, groups: list(object({ group: integer, fd })), ranges: list(DMA_RANGE) };

/** Without targets of peer-to-peer DMA (0.1.0). */
export const CONTAINER_STATE_1 = object(CONTAINER_FIELDS);

export const CONTAINER_STATE = object({ ...CONTAINER_FIELDS, peerBars: PEER_BARS });

export type ContainerState = Shaped<typeof CONTAINER_STATE>;

export class PassthroughContainer {
  readonly fd: number;
  readonly #client: KernelClient;
  readonly #groups: { group: number; fd: number }[];
  readonly #ranges: DmaRange[];
  #peerBars: PeerBars | undefined;

  /**
   * A container of `state`, whose fds this process inherited, or a fresh one without groups. The
   * page tables of a fresh one lie in pkernfs, for a guest that is there.
   */
  constructor(client: KernelClient, state?: ContainerState, guest?: PersistentGuest) {
    this.#client = client;
    this.fd = state?.fd ?? openEmptyContainer(client);
    if (guest) persist(client, this.fd, guest);
    this.#groups = [...(state?.groups ?? [])];
    this.#ranges = [...(state?.ranges ?? [])];
  }

  save(): ContainerState {
    const peerBars = this.#peerBars?.save() ?? [];
    return { fd: this.fd, groups: [...this.#groups], ranges: [...this.#ranges], peerBars };
  }

  /**
   * Puts a group into the container; the first one also chooses the IOMMU type. Returns the group's
   * fd. EINVAL: the group is not viable.
   */
  addGroup(group: number): number {
    const fd = joinContainer(this.#client, group, this.fd);
    this.#groups.push({ group, fd });
    if (this.#groups.length === 1) setIommu(this.#client, this.fd, VFIO_TYPE1v2_IOMMU);
    this.#donateMsiWindow();
    return fd;
  }

  /**
   * Takes a group out whose devices are closed. Without groups the kernel's side has no mappings
   * any more (CORE-10).
   */
  removeGroup(group: number): void {
    const index = this.#groups.findIndex((one) => one.group === group);
    const [removed] = this.#groups.splice(index, 1);
    this.#client.close(removed!.fd);
    if (this.#groups.length === 0) this.#ranges.length = 0;
  }

  /** Gives the container its MSI window as soon as it needs one, and once (RSV-4). */
  #donateMsiWindow(): void {
    if (!getType1Info(this.#client, this.fd).msiWindow) return;
    try {
      donateMsiWindow(this.#client, this.fd, MSI_IOVAS);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error; // a group before this one needed it, too
    }
  }

  /**
   * Lets the container's devices read and write `range`, which is RAM that begins at `ramVaddr`.
   * `flags`: of MAP_DMA; READ and WRITE by default.
   */
  map(range: DmaRange, ramVaddr: number, flags?: number): void {
    mapDma(this.#client, this.fd, { ...mappingOf(range, ramVaddr), ...(flags === undefined ? {} : { flags }) });
    this.#ranges.push(range);
  }

  /** Lets the devices reach these BARs of each other, where the guest places them. */
  mapPeers(devices: readonly DeviceDescription[], bars: readonly PeerBarState[]): PeerBars {
    this.#peerBars = new PeerBars(this.#client, this.fd, devices, bars);
    return this.#peerBars;
  }

  /**
   * Checks that an exec update is possible: both extensions answer 1 (CPR-1). EOPNOTSUPP names the
   * one that does not.
   */
  checkUpdatable(): void {
    if (this.#groups.length === 0) return;
    const needed = { UPDATE_VADDR: VFIO_UPDATE_VADDR, UNMAP_ALL: VFIO_UNMAP_ALL };
    for (const [name, extension] of Object.entries(needed)) {
      if (checkExtension(this.#client, this.fd, extension) !== 1) {
        throw eopnotsupp(`the host's VFIO container has no ${name}: it cannot keep DMA going over an update`);
      }
    }
  }

  /**
   * All vaddrs become invalid; translations stay as they are (UNM-10). The kernel does that while
   * the caller does something else; the function that is returned waits for it. That one throws
   * EOPNOTSUPP: another process has mapped them, and the kernel lets only that one invalidate them
   * (UNM-9).
   */
  invalidateVaddrs(): () => void {
    if (this.#groups.length === 0) return () => {};
    const bytes = this.#ranges.reduce((sum, { size }) => sum + size, 0);
    const ended = beginInvalidateVaddrs(this.#client, this.fd);
    return () => {
      if (ended() < bytes) throw eopnotsupp('the kernel keeps the vaddrs that another process has mapped (UNM-9)');
    };
  }

  /**
   * Gives every range its vaddr in RAM, which now begins at `ramVaddr` (MAP-6), and every BAR its
   * vaddr in this process. The kernel does that while the caller does something else; the function
   * that is returned waits for it.
   */
  updateVaddrs(ramVaddr: number): () => void {
    if (this.#groups.length === 0) return () => {};
    return beginMapDmas(this.#client, this.fd, this.#vaddrs(ramVaddr));
  }

  #vaddrs(ramVaddr: number): DmaMapping[] {
    const flags = VFIO_DMA_MAP_FLAG_VADDR;
    const mappings = this.#ranges.map((range) => ({ ...mappingOf(range, ramVaddr), flags }));
    return [...mappings, ...(this.#peerBars?.mappings() ?? [])];
  }

  /** Makes those vaddrs valid that are not. */
  restoreVaddrs(ramVaddr: number): void {
    for (const mapping of this.#vaddrs(ramVaddr)) this.#setVaddr(mapping);
  }

  /**
   * Maps every range anew, in a container that is; `flags` of MAP_DMA. With LIVE_UPDATE the
   * translations are there already.
   */
  mapAll(ramVaddr: number, flags: number): void {
    for (const range of this.#ranges) mapDma(this.#client, this.fd, { ...mappingOf(range, ramVaddr), flags });
  }

  /**
   * As updateVaddrs, where another process may have given some ranges a vaddr and died. Returns the
   * ranges that keep the vaddr of the dead process: a kernel of 5.12–5.19 lets only the mapper's
   * process invalidate it (UNM-9). DMA goes on there, but no new page can be pinned.
   */
  retakeVaddrs(ramVaddr: number): DmaRange[] {
    const kept = this.#ranges.filter((range) => !this.#retake(mappingOf(range, ramVaddr)));
    for (const mapping of this.#peerBars?.mappings() ?? []) this.#retake(mapping);
    return kept;
  }

  #retake(range: DmaMapping): boolean {
    const mapping = { ...range, flags: VFIO_DMA_MAP_FLAG_VADDR };
    if (this.#setVaddr(mapping)) return true;
    if (unmapDma(this.#client, this.fd, range, VFIO_DMA_UNMAP_FLAG_VADDR) === 0) return false;
    mapDma(this.#client, this.fd, mapping);
    return true;
  }

  /** False: the mapping has a valid vaddr already. */
  #setVaddr(mapping: DmaMapping): boolean {
    try {
      mapDma(this.#client, this.fd, mapping);
      return true;
    } catch (error) {
      if (codeOf(error) !== 'EINVAL') throw error;
      return false;
    }
  }
}

function persist(client: KernelClient, container: number, { name, withEntries }: PersistentGuest): void {
  const { tables, entries } = persistentFiles(name);
  const tablesFile = openPersistent(client, tables);
  setPersistentTables(client, container, tablesFile);
  client.close(tablesFile);
  if (!withEntries) return;
  const entriesFile = openPersistent(client, entries);
  setPersistentEntries(client, container, entriesFile);
  client.close(entriesFile);
}

const mappingOf = ({ iova, offset, size }: DmaRange, ramVaddr: number): DmaMapping => {
  return { iova, size, vaddr: ramVaddr + offset };
};
