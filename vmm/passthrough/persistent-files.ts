/** The files of a guest in memory that outlives the host's kernel (/dev/pkernfs). */
export interface PersistentFiles {
  readonly ram: string;
  /** The page tables of its devices' container. */
  readonly tables: string;
  /** The mappings of that container, if they outlive the kernel, too. */
  readonly entries: string;
  /** The guest's state while there is no kernel. */
  readonly state: string;
}

/** A guest in such memory, and whether its container's mappings are there, too. */
export interface PersistentGuest {
  readonly name: string;
  readonly withEntries: boolean;
}

export const persistentFiles = (guest: string): PersistentFiles => ({
  ram: `${guest}.ram`,
  tables: `iommu/${guest}`,
  entries: `vfio/${guest}`,
  state: `${guest}.state`,
});
