/** The query for one mapping of a process (Linux 6.11 and later), on a fd of /proc/<pid>/maps. */
import { codeOf } from './errno.ts';
import { ioctl } from './libc/fd.ts';
import { defineStruct, u32, u64, viewOf } from './struct.ts';
import type { Vma } from './vma.ts';

/** linux/fs.h, v6.11: struct procmap_query. */
const ProcmapQuery = defineStruct('procmap_query', {
  size: u64,
  query_flags: u64,
  query_addr: u64,
  vma_start: u64,
  vma_end: u64,
  vma_flags: u64,
  vma_page_size: u64,
  vma_offset: u64,
  inode: u64,
  dev_major: u32,
  dev_minor: u32,
  vma_name_size: u32,
  build_id_size: u32,
  vma_name_addr: u64,
  build_id_addr: u64,
});
const PROCMAP_QUERY = 0xc0686611; // _IOWR(PROCFS_IOCTL_MAGIC 'f', 17, struct procmap_query)

const VMA_READABLE = 1;
const VMA_WRITABLE = 2;
const VMA_SHARED = 8;

const TWO_32 = 2 ** 32;
const AT = ProcmapQuery.offset;

/** One for the thread: a query does not wait. */
const query = new Uint8Array(ProcmapQuery.size);
const view = viewOf(query);

/** A u64 as a number. All that is asked for here is below 2^53. */
const long = (at: number): number => view.getUint32(at + 4, true) * TWO_32 + view.getUint32(at, true);

/**
 * The mapping that covers `vaddr`, or undefined. ESRCH when the address space is dead; ENOTTY
 * before Linux 6.11.
 */
// HOT: once for each run that MAP_DMA pins (`npm run bench`, calls)
export function queryMapping(maps: number, vaddr: number): Vma | undefined {
  query.fill(0);
  view.setUint32(AT.size, ProcmapQuery.size, true);
  view.setUint32(AT.query_addr, vaddr % TWO_32, true);
  view.setUint32(AT.query_addr + 4, vaddr / TWO_32, true);
  try {
    ioctl(maps, PROCMAP_QUERY, query);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  const flags = view.getUint32(AT.vma_flags, true);
  return {
    start: long(AT.vma_start),
    end: long(AT.vma_end),
    readable: (flags & VMA_READABLE) !== 0,
    writable: (flags & VMA_WRITABLE) !== 0,
    shared: (flags & VMA_SHARED) !== 0,
    offset: long(AT.vma_offset),
    major: view.getUint32(AT.dev_major, true),
    minor: view.getUint32(AT.dev_minor, true),
    inode: long(AT.inode),
  };
}
