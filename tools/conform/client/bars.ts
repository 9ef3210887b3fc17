/**
 * The step `bar`, and accesses of the CPU to mapped BARs. Memory BARs are accessed as memory;
 * registers are accessed one by one through the file of the mapping.
 */
import { SysError } from '../../../platform/errno.ts';
import { MAP_FIXED, MAP_PRIVATE, MAP_SHARED, munmap } from '../../../platform/libc/mmap.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import type { ClientKernel } from './client-kernel.ts';
import { type Fault, load, ownVmas, parseProt, reserve, store } from './memory.ts';
import type { StepContext } from './step-context.ts';

/** Widths in bytes that the CPU accesses at once. Accesses of another length are made in words. */
const WIDTHS = [1, 2, 4, 8];
const WORD = 4;

/** `bar NAME DEVICE R:OFF SIZE PROT [private]` */
export function mapBar({ kernel, words, step: { args }, state }: StepContext): Promise<string> {
  const [name, device, region, length, prot, sharing] = args as [string, string, string, string, string, string?];
  const size = words.count(length);
  return words.status(() => {
    const vaddr = reserve(state, size);
    const flags = (sharing === 'private' ? MAP_PRIVATE : MAP_SHARED) | MAP_FIXED;
    const offset = Number(words.offset(region));
    try {
      kernel.mmap({ fd: words.fd(device), offset, length: size, prot: parseProt(prot), flags, vaddr });
    } catch (error) {
      munmap(vaddr, Math.max(size, 1));
      throw error;
    }
    state.change({ symbol: name, vaddr, memory: null });
    state.change({ bar: { vaddr, size: Math.max(size, PAGE_SIZE), fd: words.fd(device), offset } });
    return 0;
  });
}

/** Loads bytes as the CPU would. Returns the signal that would kill the process, if any. */
export function cpuLoad(kernel: ClientKernel, vaddr: number, into: Uint8Array): Fault | undefined {
  const bar = kernel.mappedBar(vaddr);
  if (!bar?.registers) return load(vaddr, into);
  return access(vaddr, into.length, 'readable', (at, end) =>
    kernel.pread(bar.fd, bar.offset + at, into.subarray(at, end)),
  );
}

/** Stores bytes as the CPU would. Returns the signal that would kill the process, if any. */
export function cpuStore(kernel: ClientKernel, vaddr: number, bytes: Uint8Array): Fault | undefined {
  const bar = kernel.mappedBar(vaddr);
  if (!bar?.registers) return store(vaddr, bytes);
  return access(vaddr, bytes.length, 'writable', (at, end) =>
    kernel.pwrite(bar.fd, bar.offset + at, bytes.subarray(at, end)),
  );
}

function access(
  vaddr: number,
  length: number,
  right: 'readable' | 'writable',
  move: (at: number, end: number) => void,
): Fault | undefined {
  if (!ownVmas().find(({ start, end }) => vaddr >= start && vaddr < end)?.[right]) return 'SIGSEGV';
  const width = WIDTHS.includes(length) ? length : WORD;
  try {
    for (let at = 0; at < length; at += width) move(at, Math.min(at + width, length));
  } catch (error) {
    if (error instanceof SysError && error.code === 'EIO') return 'SIGBUS';
    throw error;
  }
  return undefined;
}
