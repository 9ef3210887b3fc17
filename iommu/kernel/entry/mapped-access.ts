/**
 * Loads and stores of the CPU at a mapping of a device's object that has no bytes there
 * (wire.ts: AccessRequest). The mapping alone says which register it is: its fd may be closed.
 */
import { efault } from '../../../platform/errno.ts';
import { hex } from '../../../platform/hex.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { vmaObjectKey } from '../../../platform/process.ts';
import { offsetOfPlace } from '../../abi/device-object.ts';
import { VFIO_PCI_OFFSET_SHIFT } from '../../abi/vfio.ts';
import type { AccessRequest, Reply } from '../../abi/wire.ts';
import type { Caller, FileOperations, OpenFile } from '../core/open-file.ts';
import type { Task } from '../core/task.ts';
import type { FileTable } from './file-table.ts';

const REGION_BYTES = 2 ** VFIO_PCI_OFFSET_SHIFT;

export interface MappedPlace {
  /** The device's. */
  readonly file: OpenFile;
  /** Its offset, as VFIO counts. */
  readonly at: number;
}

/** The registers that a thread has mapped at the vaddr of an access. EFAULT: none. */
export function registersAt(request: AccessRequest, files: FileTable, task: Task): MappedPlace {
  const { vaddr } = request;
  const length = request.op === 'load' ? request.length : request.data.length;
  const vma = task.process.currentMm().space.vmaAt(vaddr);
  const isAllowed = vma && (request.op === 'load' ? vma.readable : vma.writable);
  const file = isAllowed && vma.shared ? files.findMapped(vmaObjectKey(vma)) : undefined;
  if (!file || !vma || vaddr + length > vma.end) throw efault(`no registers at ${hex(vaddr)}`);
  return { file, at: Number(offsetOfPlace(BigInt(vma.offset + vaddr - vma.start))) };
}

/** Makes the access. EIO: a bus error. */
export function access(request: AccessRequest, device: FileOperations, at: number, caller: Caller): Reply {
  const page = { offset: at - (at % PAGE_SIZE), length: PAGE_SIZE, shared: true };
  const { operations: bar } = device.mmap!(page, caller);
  try {
    const offset = BigInt(at % REGION_BYTES);
    if (request.op === 'store') return { ret: bar.pwrite!(offset, request.data) };
    const out = bar.pread!(offset, request.length);
    return { ret: out.length, out };
  } finally {
    bar.release();
  }
}
