/**
 * Accesses of the CPU to mapped BARs. Memory BARs are accessed as memory; registers are accessed
 * one by one through the file of the mapping.
 */
import { SysError } from '../../../platform/errno.ts';
import type { KernelClient } from '../../../vmm/client/kernel-client.ts';
import type { Fault } from '../steps/process-calls.ts';
import { load, ownVmas, store } from './memory.ts';

/** Widths in bytes that the CPU accesses at once. Accesses of another length are made in words. */
const WIDTHS = [1, 2, 4, 8];
const WORD = 4;

/** Loads bytes as the CPU would. Returns the signal that would kill the process, if any. */
export function cpuLoad(kernel: KernelClient, vaddr: number, into: Uint8Array): Fault | undefined {
  const bar = kernel.mappedBar(vaddr);
  if (!bar?.registers) return load(vaddr, into);
  return access(vaddr, into.length, 'readable', (at, end) =>
    kernel.pread(bar.fd, bar.offset + at, into.subarray(at, end)),
  );
}

/** Stores bytes as the CPU would. Returns the signal that would kill the process, if any. */
export function cpuStore(kernel: KernelClient, vaddr: number, bytes: Uint8Array): Fault | undefined {
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
