/** One mapping of a process: [start, end) in vaddrs. */
export interface Vma {
  readonly start: number;
  readonly end: number;
  readonly readable: boolean;
  readonly writable: boolean;
  readonly shared: boolean;
  /** Bytes into the object at `start`. */
  readonly offset: number;
  /** Device as `major:minor` numbers; inode 0 means anonymous memory. */
  readonly major: number;
  readonly minor: number;
  readonly inode: number;
}
