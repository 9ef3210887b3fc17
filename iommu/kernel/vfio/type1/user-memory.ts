/**
 * Copies between the kernel and the memory of a process by user pointers. The rights of the
 * process' mappings apply.
 */
import { efault } from '../../../../platform/errno.ts';
import { hex } from '../../../../platform/hex.ts';
import type { Vma } from '../../../../platform/vma.ts';
import type { Mm } from '../../core/task.ts';
import { mappingAt } from '../../mm/pin.ts';

/** TASK_SIZE_MAX of x86-64 with five levels, one page below 2^56. */
const TASK_SIZE_MAX = (1n << 56n) - 4096n;

/** access_ok: whether the range can be user memory at all. */
export function accessOk(vaddr: bigint, size: bigint): boolean {
  return vaddr + size <= TASK_SIZE_MAX;
}

/** copy_to_user. EFAULT at the first byte that is not writable; the bytes before it are written. */
export function copyToUser(mm: Mm, vaddr: number, data: Uint8Array): void {
  copy(mm, vaddr, data, { allowed: (vma) => vma.writable, move: (at, bytes) => mm.space.write(at, bytes) });
}

/**
 * copy_from_user. EFAULT at the first byte that cannot be read. A CPU that may write a page may
 * read it.
 */
export function copyFromUser(mm: Mm, vaddr: number, into: Uint8Array): void {
  copy(mm, vaddr, into, {
    allowed: (vma) => vma.readable || vma.writable,
    move: (at, bytes) => mm.space.read(at, bytes),
  });
}

interface Access {
  readonly allowed: (vma: Vma) => boolean;
  /** Returns how many bytes were moved. */
  readonly move: (vaddr: number, bytes: Uint8Array) => number;
}

function copy(mm: Mm, vaddr: number, bytes: Uint8Array, { allowed, move }: Access): void {
  for (let done = 0; done < bytes.length; ) {
    const at = vaddr + done;
    const vma = Number.isSafeInteger(at) ? mappingAt(mm, at) : undefined;
    if (!vma || !allowed(vma)) throw efault(`no access to vaddr ${hex(at)}`);
    const part = bytes.subarray(done, Math.min(bytes.length, done + vma.end - at));
    if (move(at, part) < part.length) throw efault(`no memory behind vaddr ${hex(at)}`);
    done += part.length;
  }
}
