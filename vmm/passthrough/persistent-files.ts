/** The files of a guest in memory that outlives the host's kernel (/dev/pkernfs). */
export interface PersistentFiles {
  readonly ram: string;
  /** The page tables of its devices' container. */
  readonly tables: string;
  /** The guest's state while there is no kernel. */
  readonly state: string;
}

export const persistentFiles = (guest: string): PersistentFiles => ({
  ram: `${guest}.ram`,
  tables: `iommu/${guest}`,
  state: `${guest}.state`,
});
