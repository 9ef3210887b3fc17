/**
 * Locked memory: what is charged to whom for pinned pages (ACC-1…8; vfio_lock_acct,
 * __account_locked_vm).
 */
import { enomem, esrch } from '../../../../platform/errno.ts';
import type { Mm, Task } from '../../core/task.ts';
import type { DmaEntry } from './dma-entry.ts';
import type { VfioIommu } from './vfio-iommu.ts';

const KIB_PER_PAGE = 4;

/**
 * The address space an entry's vaddr is of and its pages are charged to; undefined when it is no
 * more. Since 6.3 it is the one that mapped (mmget_not_zero); before, the one which the mapper's
 * task has now (get_task_mm): after an exec the new image's (ACC-5). The caller's own is alive, no
 * need to ask.
 */
export function mmOf(iommu: VfioIommu, entry: DmaEntry, caller: Task | undefined): Mm | undefined {
  if (entry.mm === caller?.mm || entry.mm.alive()) return entry.mm;
  const { process } = entry.mapper;
  if (iommu.profile.chargedMm === 'of-mapping' || process.exited()) return undefined;
  const mm = process.currentMm();
  if (!mm.alive()) return undefined;
  entry.mm.drop();
  entry.mm = mm.grab();
  return mm;
}

/**
 * Charges pages. ENOMEM beyond RLIMIT_MEMLOCK, unless the mapper had CAP_IPC_LOCK; ESRCH when the
 * mm is no more.
 */
export function charge(iommu: VfioIommu, entry: DmaEntry, nrPages: number, caller: Task | undefined): void {
  if (nrPages === 0) return;
  const { mapper } = entry;
  const mm = mmOf(iommu, entry, caller);
  if (!mm) throw esrch(`address space of process ${mapper.pid} is gone`);
  if (!entry.lockCap && exceeds(mm.lockedTotal() + nrPages, mapper.memlockLimitPages())) throw memlockExceeded(mapper);
  mm.lockedVm += nrPages;
  entry.lockedPages += nrPages;
}

/** Takes pages off again; nothing when the mm is no more. */
export function uncharge(iommu: VfioIommu, entry: DmaEntry, nrPages: number, caller: Task | undefined): void {
  if (nrPages === 0) return;
  const mm = mmOf(iommu, entry, caller);
  if (!mm) return;
  mm.lockedVm -= nrPages;
  entry.lockedPages -= nrPages;
}

/**
 * ACC-3: whether the caller may lock nrPages more, tested page by page in its own mm while pinning.
 */
export function testMemlock(entry: DmaEntry, nrPages: number, caller: Task): void {
  if (entry.lockCap || nrPages === 0) return;
  const lockedVm = caller.mm.lockedTotal();
  const limit = caller.memlockLimitPages();
  if (exceeds(lockedVm + 1, limit) || exceeds(lockedVm + nrPages, limit)) throw memlockExceeded(caller);
}

/**
 * ACC-6: the caller takes over entry and charge. ENOMEM: nothing has changed. An old mm that is
 * dead is not uncharged; the same mm is left alone.
 */
export function moveCharge(entry: DmaEntry, caller: Task): void {
  const { mm } = caller;
  if (mm === entry.mm) return;
  const lockCap = caller.capIpcLock();
  const { lockedPages } = entry;
  if (!lockCap && lockedPages > 0 && exceeds(mm.lockedTotal() + lockedPages, caller.memlockLimitPages())) {
    throw memlockExceeded(caller);
  }
  mm.lockedVm += lockedPages;
  if (entry.mm.alive()) entry.mm.lockedVm -= lockedPages;
  entry.mm.drop();
  entry.mm = mm.grab();
  entry.mapper = caller;
  entry.lockCap = lockCap;
}

/** locked_vm is an unsigned long: below 0 it is next to 2^64, and more than any limit (ACC-5). */
const exceeds = (lockedVm: number, limit: number): boolean => lockedVm < 0 || lockedVm > limit;

/** The words for the user: a plain user's limit is 8 MiB, and a guest is larger than that. */
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
