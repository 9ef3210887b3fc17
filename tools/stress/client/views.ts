/**
 * Views: further places where a memory object is mapped, besides the CPU's own view. MAP_DMA gets
 * their addresses as vaddr. Views come and go.
 */
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  MAP_SHARED,
  mmap,
  munmap,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
} from '../../../platform/libc/mmap.ts';
import { processVmWrite } from '../../../platform/libc/other-process.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';

export interface View {
  readonly vaddr: number;
  readonly writable: boolean;
}

/**
 * Unmapped pages behind each view. A range that runs over the end of the view is answered -EFAULT.
 */
export const HOLE_PAGES = 64;

/**
 * Maps `nrPages` of a memfd at a vaddr that the kernel chooses. Without a fd it maps private memory
 * and writes to it, so that no page is the zero page.
 */
export function mapView(fd: number | undefined, nrPages: number, writable: boolean): View {
  const size = nrPages * PAGE_SIZE;
  const prot = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  const kind = fd === undefined ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  // SAFETY: a range of its own, which only MAP_DMA is told. unmapView, execve or exit takes it
  // away.
  const vaddr = mmap(0, size + HOLE_PAGES * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mmap(vaddr, size, prot, kind | MAP_FIXED, fd ?? -1, 0);
  if (fd === undefined) processVmWrite(process.pid, vaddr, new Uint8Array(size).fill(1));
  return { vaddr, writable };
}

export function unmapView({ vaddr }: View, nrPages: number): void {
  munmap(vaddr, (nrPages + HOLE_PAGES) * PAGE_SIZE);
}
