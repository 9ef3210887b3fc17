/**
 * An IOMMU as type1 knows it: domains (one set of page tables each) and the driver that makes them.
 * Numbers are pages, not bytes. Iova page numbers (vpn) are below 2^52, so every number is exact.
 * Ranges are [vpn, vpn + nrPages).
 */

import type { DonatedWindow } from './donated-window.ts';

/** Access rights of a mapping, from the device's side (linux/iommu.h). */
export const IOMMU_READ = 1;
export const IOMMU_WRITE = 2;

/** linux/iommu.h, enum iommu_resv_type: iovas a group cannot use, and why. */
export type ReservedType = 'direct' | 'direct-relaxable' | 'reserved' | 'msi' | 'sw-msi';

export interface ReservedRegion {
  readonly vpn: number;
  readonly nrPages: number;
  readonly type: ReservedType;
}

/** Identity of an IOMMU driver's code: units with the same ops may share domains (ATT-2). */
export interface IommuOps {
  readonly name: string;
}

/** A file of pkernfs for page tables, as a user has named it: one block of 2 MiB. */
export interface TableFile {
  readonly name: string;
  readonly startPfn: number;
}

/** One address space of devices, which may be behind several units. */
export interface IommuDomain {
  readonly ops: IommuOps;
  /** Page sizes a leaf may have, as a bitmap of byte sizes. */
  readonly pgsizes: bigint;
  /** enforce_cache_coherency: devices behind it cannot bypass the CPU's caches (ST-2: DMA_CC). */
  readonly coherent: boolean;
  /** The iovas it can translate: [apertureVpn, apertureEndVpn). */
  readonly apertureVpn: number;
  readonly apertureEndVpn: number;
  /**
   * Maps [vpn, vpn + nrPages) to pfn onward with the largest pages that fit (IOM-1). On an error
   * nothing of it stays. EINVAL unless all are multiples of the smallest page, EFAULT or ERANGE
   * outside the aperture, EADDRINUSE over an existing mapping, ENOMEM without page-table pages.
   */
  map(vpn: number, pfn: number, nrPages: number, prot: number): void;
  /**
   * Removes whole leaves (IOM-4). Returns the pages removed, which may be more than asked for.
   * Devices may still use them until flush().
   */
  unmap(vpn: number, nrPages: number): number;
  /** Returns when no device uses the pages that were unmapped before. */
  flush(): void;
  pfnOf(vpn: number): number | undefined;
  /**
   * iommu_get_msi_cookie: lets MSIs through at `vpn`, on a unit that translates them. ENODEV where
   * the window is fixed (ATT-4).
   */
  mapMsiWindow(vpn: number): void;
  /** The window for MSIs, if a user has to donate it (RSV-1). */
  readonly donatedWindow: DonatedWindow | undefined;
  /** Gives the domain's tables back. No device may be attached. */
  free(): void;
}

/** A domain whose tables outlive the kernel (PKF-1). */
export interface PersistentDomain extends IommuDomain {
  readonly file: TableFile;
  /** Whether a page of the range has a translation. */
  mapsAny(vpn: number, nrPages: number): boolean;
  /**
   * Whether the tables have what map() would write; writes nothing. `within` is the mapping that
   * the run is a part of. ENOENT: a page is not mapped; EINVAL: a leaf reaches beyond the mapping;
   * ESTALE: another page; EACCES: other rights; EFAULT or ERANGE outside the aperture.
   */
  checkMapped(
    vpn: number,
    run: { readonly pfn: number; readonly nrPages: number },
    prot: number,
    within: { readonly vpn: number; readonly nrPages: number },
  ): void;
  /** This kernel lets the domain be, with its devices, for the next one. */
  abandon(): void;
}

/** struct iommu_device: one IOMMU, as the groups behind it know it. */
export interface IommuDevice {
  readonly ops: IommuOps;
  allocDomain(): IommuDomain;
  /**
   * iommu_domain_alloc_persistent: the domain of a file, with the translations that an earlier
   * kernel has left there. EBUSY: the file has a domain; EINVAL: its tables are of another format;
   * EIO: they are damaged.
   */
  allocPersistentDomain(file: TableFile): PersistentDomain;
  /** Whether the device is in the domain of such a file, also before anybody has asked for it. */
  isPersistent(did: number): boolean;
  /**
   * Moves device `did`, which is behind this unit, into a domain, out of any other. EINVAL when the
   * unit cannot use the domain.
   */
  attach(did: number, domain: IommuDomain): void;
  /** Takes the device out of the domain: its DMA faults from here on. */
  detach(did: number, domain: IommuDomain): void;
  /** Iovas that devices behind this unit cannot use. */
  reservedRegions(): readonly ReservedRegion[];
  /** Interrupt remapping: a device can raise only its own MSIs (ATT-1, allow_unsafe_interrupts). */
  readonly isolatedMsi: boolean;
}
