/**
 * Locked memory: pinned pages are charged to an address space here (ACC-1…8; vfio_lock_acct,
 * __account_locked_vm).
 */
import { enomem, esrch } from '../../../../platform/errno.ts';
import type { Mm, Task } from '../../core/task.ts';
import type { DmaEntry } from './dma-entry.ts';
import type { VfioIommu } from './vfio-iommu.ts';

const KIB_PER_PAGE = 4;

/**
 * Returns the address space that the entry's vaddr belongs to and its pages are charged to;
 * undefined when it is gone. Since 6.3 this is the address space that made the mapping
 * (mmget_not_zero). Before 6.3 it is the current one of the mapper's task (get_task_mm): after an
 * exec, the new image's (ACC-5). The caller's own address space is alive and is not tested.
 */
export function mmOf(iommu: VfioIommu, entry: DmaEntry, caller: Task | undefined): Mm | undefined {
  if (entry.mm === caller?.mm) return entry.mm;
  if (iommu.profile.chargedMm === 'of-mapping') return entry.mm.alive() ? entry.mm : undefined;
  const { process } = entry.mapper;
  const mm = process.currentMm();
  if (!mm.alive() || process.exited()) return undefined;
  if (mm === entry.mm) return mm;
  entry.mm.drop();
  entry.mm = mm.grab();
  return mm;
}

/**
 * Charges pages to the entry's mm. ENOMEM beyond RLIMIT_MEMLOCK, unless the mapper had
 * CAP_IPC_LOCK. ESRCH when the mm is gone.
 */
export function charge(iommu: VfioIommu, entry: DmaEntry, nrPages: number, caller: Task | undefined): void {
  if (nrPages === 0) return;
  const { mapper } = entry;
  const mm = mmOf(iommu, entry, caller);
  if (!mm) throw esrch(`address space of process ${mapper.pid} is gone`);
  if (!entry.lockCap && exceeds(mm, nrPages, mapper.memlockLimitPages())) throw memlockExceeded(mapper);
  mm.lockedVm += nrPages;
  entry.lockedPages += nrPages;
}

/** Takes pages off the charge again. Does nothing when the mm is gone. */
export function uncharge(iommu: VfioIommu, entry: DmaEntry, nrPages: number, caller: Task | undefined): void {
  if (nrPages === 0) return;
  const mm = mmOf(iommu, entry, caller);
  if (!mm) return;
  mm.lockedVm -= nrPages;
  entry.lockedPages -= nrPages;
}

/**
 * ACC-3: throws ENOMEM unless the caller may lock nrPages more. While pinning, the kernel tests
 * this page by page, in the caller's own mm.
 */
export function testMemlock(entry: DmaEntry, nrPages: number, caller: Task): void {
  if (entry.lockCap || nrPages === 0) return;
  const { mm } = caller;
  const limit = caller.memlockLimitPages();
  if (exceeds(mm, 1, limit) || exceeds(mm, nrPages, limit)) throw memlockExceeded(caller);
}

/**
 * ACC-6: the caller takes over the entry and its charge. On ENOMEM nothing has changed. A dead old
 * mm is not uncharged. If the mm is the same, nothing happens.
 */
export function moveCharge(entry: DmaEntry, caller: Task): void {
  const { mm } = caller;
  if (mm === entry.mm) return;
  const lockCap = caller.capIpcLock();
  const { lockedPages } = entry;
  if (!lockCap && lockedPages > 0 && exceeds(mm, lockedPages, caller.memlockLimitPages())) {
    throw memlockExceeded(caller);
  }
  mm.lockedVm += lockedPages;
  if (entry.mm.alive()) entry.mm.lockedVm -= lockedPages;
  entry.mm.drop();
  entry.mm = mm.grab();
  entry.mapper = caller;
  entry.lockCap = lockCap;
}

/**
 * Whether `more` locked pages of an mm would be beyond a limit of pages. locked_vm is an unsigned
 * long: a value below 0 is close to 2^64 and exceeds every limit (ACC-5).
 */
function exceeds(mm: Mm, more: number, limit: number): boolean {
  // Without a limit it makes no difference what mlock(2) has locked besides: to ask costs 12 µs.
  if (limit === Number.POSITIVE_INFINITY && mm.lockedVm + more >= 0) return false;
  const lockedVm = mm.lockedTotal() + more;
  return lockedVm < 0 || lockedVm > limit;
}

/**
 * The error is worded for the user: a plain user's limit is 8 MiB, and a guest is larger than that.
 */
function memlockExceeded(task: Task): Error {
  const pages = task.memlockLimitPages();
  // ACC-5
  if (pages === Number.POSITIVE_INFINITY) return enomem(`the locked pages of process ${task.pid} are fewer than none`);
  const limit = pages * KIB_PER_PAGE;
  const raise = "raise its RLIMIT_MEMLOCK ('ulimit -l', limits.conf, LimitMEMLOCK= of a service)";
  return enomem(
    `process ${task.pid} may lock ${limit} KiB of memory and needs more: ${raise}, or start the host with --memlock unlimited`,
  );
}
