/**
 * struct vfio_iommu: the state of one container's type1 driver. Its mutex is `lock`: code between
 * two awaits holds it, work in slices holds it too, and an await drops it. Ranges are [vpn, end) in
 * pages of 4 KiB.
 */

import { PAGE_SHIFT } from '../../../../platform/page.ts';
import type { Profile } from '../../core/profile.ts';
import type { IommuDomain, PersistentDomain, TableFile } from '../../driver/domain.ts';
import type { Pinner } from '../../mm/pin.ts';
import type { DmaUnmapListener, IommuGroup } from '../container-iommu.ts';
import type { DmaEntry } from './dma-entry.ts';
import { DmaTree } from './dma-tree.ts';
import { type HeldLocks, IommuLock } from './iommu-lock.ts';
import { PeerMemory } from './peer-memory.ts';
import type { PersistentEntries } from './persistent-entries.ts';
import { VaddrWaiters } from './vaddr-waiters.ts';

/** The present module parameters of vfio_iommu_type1. */
export interface Type1Parameters {
  /** The most entries of a container. Read at SET_IOMMU. */
  dmaEntryLimit: number;
  /** Read at each attach (ATT-1). */
  allowUnsafeInterrupts: boolean;
  /** Pages are pinned and mapped one by one (ACC-1). Default: no. */
  disableHugepages?: boolean;
}

export const DEFAULT_PARAMETERS: Readonly<Type1Parameters> = { dmaEntryLimit: 65535, allowUnsafeInterrupts: false };

export interface VfioIommuOptions {
  /** TYPE1v2 (and NESTING): entries are never split, not even silently (UNM-6). */
  readonly v2: boolean;
  /** Opened as TYPE1_NESTING: needs an IOMMU that can nest. */
  readonly nesting: boolean;
  readonly profile: Profile;
  readonly pinner: Pinner;
  readonly parameters: Readonly<Type1Parameters>;
  /** The longest slice of long work. Default: all work is done in one go. */
  readonly sliceMs?: number | undefined;
  readonly heldLocks: HeldLocks;
  /** Undefined: the host has no memory for tables that outlive the kernel. */
  readonly persistence?: TablesMode | undefined;
  /** The file of this container's page tables. */
  readonly tables?: TableFile | undefined;
  readonly entriesFile?: PersistentEntries | undefined;
}

/** How MAP_DMA with LIVE_UPDATE treats persistent page tables (persistent.ts). */
export type TablesMode = 'strict' | 'rfc';

/** A group that is attached. */
export interface AttachedGroup {
  readonly group: IommuGroup;
  /**
   * True if the group pins every page before it dirties it (DRT-6). Otherwise every page that the
   * group could reach counts as dirty (DRT-4).
   */
  pinnedPageDirtyScope: boolean;
}

export interface AttachedDomain {
  readonly domain: IommuDomain;
  readonly groups: AttachedGroup[];
}

/** A span of iova pages [vpn, end). */
export interface IovaSpan {
  readonly vpn: number;
  readonly end: number;
}

const ALL_PAGE_SIZES = 0xffff_ffff_ffff_f000n;

const smallestOf = (bitmap: bigint): bigint => bitmap & -bitmap;

export class VfioIommu {
  readonly v2: boolean;
  readonly nesting: boolean;
  readonly profile: Profile;
  readonly pinner: Pinner;
  readonly parameters: Readonly<Type1Parameters>;
  readonly #entries: DmaTree<DmaEntry>;
  /** Newest first. */
  readonly domains: AttachedDomain[] = [];
  readonly emulatedGroups: AttachedGroup[] = [];
  readonly listeners = new Set<DmaUnmapListener>();
  /**
   * Spans in order and disjoint. Empty means that nothing is known and everything is valid (MAP-9).
   */
  validIova: readonly IovaSpan[] = [];
  dmaAvail: number;
  /** The sum over all entries. */
  mappedPages = 0;
  #hasMsiWindow = false;
  #pgsizeBitmap = ALL_PAGE_SIZES;
  /** The smallest page size of all domains (ST-1). iova, vaddr and size must be multiples of it. */
  pgsize = smallestOf(ALL_PAGE_SIZES);
  dirtyPageTracking = false;
  /** False from the close of the container's fd on (CORE-11). */
  containerOpen = true;
  vaddrInvalidCount = 0;
  /** How many real groups have not pinned pages. Each of them makes everything dirty (DRT-4). */
  nrNonPinnedGroups = 0;
  readonly persistence: TablesMode | undefined;
  readonly tables: TableFile | undefined;
  /** Where the entries are recorded for the next kernel. */
  readonly entriesFile: PersistentEntries | undefined;
  /** The only domain of a container with `tables`, from its first group on. */
  persistentDomain: PersistentDomain | undefined;
  /** The kernel ends: the tables and their devices are left to the next one. */
  leaving = false;
  readonly peers = new PeerMemory();
  readonly waiters = new VaddrWaiters();
  readonly lock: IommuLock;

  constructor(options: VfioIommuOptions) {
    const { v2, nesting, profile, pinner, parameters, sliceMs = Number.POSITIVE_INFINITY, heldLocks } = options;
    this.lock = new IommuLock(sliceMs, heldLocks);
    this.v2 = v2;
    this.nesting = nesting;
    this.profile = profile;
    this.#entries = new DmaTree(profile);
    this.pinner = pinner;
    this.parameters = parameters;
    this.persistence = options.persistence;
    this.tables = options.tables;
    this.entriesFile = options.entriesFile;
    this.dmaAvail = parameters.dmaEntryLimit;
  }

  get pgsizeBitmap(): bigint {
    return this.#pgsizeBitmap;
  }

  /** How many pages of 4 KiB the smallest page has. */
  get pgsizePages(): number {
    return Number(this.pgsize >> BigInt(PAGE_SHIFT));
  }

  /** Pages of entries that pin nothing there: windows for MSIs, and memory of devices (ACC-4). */
  get unpinnedPages(): number {
    if (!this.#hasMsiWindow && this.peers.isEmpty) return 0;
    let sum = 0;
    for (const { type, nrPages, runs } of this.entries()) {
      if (type === 'msi') sum += nrPages;
      for (const run of runs) if (run.device) sum += run.nrPages;
    }
    return sum;
  }

  get nrEntries(): number {
    return this.#entries.size;
  }

  /** The entry with memory that has page `vpn`; not a window for MSIs. */
  findUser(vpn: number): DmaEntry | undefined {
    const entry = this.#entries.find(vpn, 1);
    return entry?.type === 'user' ? entry : undefined;
  }

  /** An entry of either type that has a page of [vpn, vpn + nrPages). */
  find(vpn: number, nrPages: number): DmaEntry | undefined {
    return this.#entries.find(vpn, nrPages);
  }

  /**
   * The entries that UNMAP_DMA finds in [vpn, end), in order. The caller may unlink each of them.
   */
  within(vpn: number, end: number): Iterable<DmaEntry> {
    return this.#entries.within(vpn, end);
  }

  /** The entries that UNMAP_DMA with ALL finds. */
  withinAll(): Iterable<DmaEntry> {
    return this.#entries.withinAll();
  }

  /** All entries in order. The caller may unlink each of them. */
  entries(): Iterable<DmaEntry> {
    return this.#entries;
  }

  link(entry: DmaEntry): void {
    this.mappedPages += entry.nrPages;
    this.#hasMsiWindow ||= entry.type === 'msi';
    this.#entries.insert(entry);
  }

  unlink(entry: DmaEntry): void {
    this.mappedPages -= entry.nrPages;
    this.#entries.delete(entry);
  }

  /** A replay maps all entries except those whose end the kernel takes for 0 (ATT-1). */
  isReplayed(entry: DmaEntry): boolean {
    return this.#entries.knowsEnd(entry);
  }

  /** MAP-9: true if [vpn, end) is inside one valid span. An unknown list allows everything. */
  isValidIova(vpn: number, end: number): boolean {
    const { validIova } = this;
    return validIova.length === 0 || validIova.some((span) => vpn >= span.vpn && end <= span.end);
  }

  /** ST-1 */
  updatePgsizeBitmap(): void {
    let bitmap = 0xffff_ffff_ffff_ffffn;
    for (const { domain } of this.domains) bitmap &= domain.pgsizes;
    if ((bitmap & ~ALL_PAGE_SIZES) !== 0n) bitmap = (bitmap & ALL_PAGE_SIZES) | (1n << BigInt(PAGE_SHIFT));
    this.#pgsizeBitmap = bitmap;
    this.pgsize = smallestOf(bitmap);
  }

  findGroup(group: IommuGroup): AttachedGroup | undefined {
    const all = [...this.emulatedGroups, ...this.domains.flatMap(({ groups }) => groups)];
    return all.find((attached) => attached.group.id === group.id);
  }
}
