/** Accesses of the CPU to memory of this process, which may fault without ending it. */
import { readFileSync } from 'node:fs';

import { SysError } from '../../../platform/errno.ts';
import { processVmRead, processVmWrite } from '../../../platform/libc/other-process.ts';
import { parseMapsLine, type Vma } from '../../../platform/vma.ts';
import type { Fault } from '../steps/process-calls.ts';

/** Loads bytes as the CPU would. Returns the signal that would kill the process, if any. */
export function load(vaddr: number, into: Uint8Array): Fault | undefined {
  return access(vaddr, into.length, 'read', () => processVmRead(process.pid, vaddr, into));
}

/** Stores bytes as the CPU would. Returns the signal that would kill the process, if any. */
export function store(vaddr: number, bytes: Uint8Array): Fault | undefined {
  return access(vaddr, bytes.length, 'write', () => processVmWrite(process.pid, vaddr, bytes));
}

function access(vaddr: number, length: number, kind: 'read' | 'write', move: () => number): Fault | undefined {
  let moved = 0;
  try {
    moved = move();
  } catch (error) {
    if (!(error instanceof SysError && error.code === 'EFAULT')) throw error;
  }
  if (moved === length) return undefined;
  // The mapping allows the access, and it still faulted: there is nothing behind the page.
  const vma = ownVmas().find(({ start, end }) => vaddr + moved >= start && vaddr + moved < end);
  return (kind === 'read' ? vma?.readable : vma?.writable) ? 'SIGBUS' : 'SIGSEGV';
}

export function ownVmas(): Vma[] {
  return vmasOf('self');
}

export function vmasOf(pid: number | 'self'): Vma[] {
  const lines = readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n');
  return lines.flatMap((line) => parseMapsLine(line) ?? []);
}
