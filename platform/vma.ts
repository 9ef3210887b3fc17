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

/** Parses one line of /proc/<pid>/maps; undefined for the empty last one. */
export function parseMapsLine(line: string): Vma | undefined {
  const match = /^([0-9a-f]+)-([0-9a-f]+) (.)(.).(.) ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+)/.exec(line);
  if (!match) return undefined;
  const [, start, end, r, w, s, offset, major, minor, inode] = match as unknown as string[];
  return {
    start: Number.parseInt(start!, 16),
    end: Number.parseInt(end!, 16),
    readable: r === 'r',
    writable: w === 'w',
    shared: s === 's',
    offset: Number.parseInt(offset!, 16),
    major: Number.parseInt(major!, 16),
    minor: Number.parseInt(minor!, 16),
    inode: Number(inode),
  };
}
