/**
 * Pinning (pin_user_pages, FOLL_LONGTERM): vaddrs of a client become pages of the board that stay
 * where they are. There is one run per mapping of the client, not per page. Ranges are [vaddrPage,
 * vaddrPage + nrPages) in pages of the client's address space.
 */
import { codeOf, efault } from '../../../platform/errno.ts';
import { hex } from '../../../platform/hex.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import type { Sliced } from '../../../platform/slices.ts';
import type { Vma } from '../../../platform/vma.ts';
import type { Profile } from '../core/profile.ts';
import type { Mm } from '../core/task.ts';
import { BoardShares } from './board-shares.ts';
import { type DeviceMemory, DeviceMemoryTable } from './device-memory.ts';
import { type Backing, type BoardMemory, BoardObjects, type PlacedObject } from './pin-objects.ts';
import { ProcessWindows } from './process-windows.ts';

/**
 * User space ends at 2^47 (TASK_SIZE of x86-64 and arm64 with 4 levels), or at 2^56 for a process
 * that asks for it.
 */
const TASK_SIZE_PAGES = 2 ** 56 / PAGE_SIZE;

/** Consecutive pages that are pinned together. */
export interface PinnedRun {
  readonly pfn: number;
  readonly nrPages: number;
  /**
   * The run is device memory, or the zero page where the kernel takes it for device memory. It is
   * neither charged nor counted (ACC-2, ACC-4).
   */
  readonly reserved: boolean;
  readonly backing: Backing;
  /** Set for pages of a BAR. */
  readonly device?: DeviceMemory | undefined;
  /** The device has taken the pages back: they are mapped nowhere, and never will be (P2P-10). */
  readonly revoked?: true;
}

/** Objects that have their place on the board already: files of pkernfs. */
export interface ReservedObjects {
  /** The object that a mapping shows, with one more reference to it. */
  find(vma: Vma): PlacedObject | undefined;
  /** The object that has all pages of [pfn, pfn + nrPages), with one more reference to it. */
  findPages(pfn: number, nrPages: number): Backing | undefined;
}

export interface PinnerOptions {
  readonly reserved?: ReservedObjects | undefined;
  readonly deviceMemory?: DeviceMemoryTable | undefined;
  /** Profile.zeroPageCharged; default true. */
  readonly zeroPageCharged?: boolean;
  /** Profile.sharedFileWrites; default EFAULT. */
  readonly sharedFileWrites?: Profile['sharedFileWrites'];
  readonly shares?: BoardShares;
}

export class Pinner {
  /** Pages pinned now, without those of devices. A page that is pinned twice counts twice. */
  pinnedPages = 0;
  readonly #objects: BoardObjects;
  readonly #windows: ProcessWindows;
  readonly #deviceMemory: DeviceMemoryTable;
  readonly #reserved: ReservedObjects | undefined;
  readonly #zeroPageCharged: boolean;
  readonly #writesSharedFiles: boolean;

  constructor(
    board: BoardMemory,
    {
      deviceMemory = new DeviceMemoryTable(),
      zeroPageCharged = true,
      sharedFileWrites = 'EFAULT',
      shares = new BoardShares(),
      reserved,
    }: PinnerOptions = {},
  ) {
    this.#objects = new BoardObjects(board, shares);
    this.#windows = new ProcessWindows(board, shares);
    this.#deviceMemory = deviceMemory;
    this.#reserved = reserved;
    this.#zeroPageCharged = zeroPageCharged;
    this.#writesSharedFiles = sharedFileWrites === 'allowed';
  }

  /**
   * Pins the longest run that starts at vaddrPage, at most nrPages. MAP-13: a device that writes
   * needs a writable mapping, and one that only reads needs a readable one. Anything else, and a
   * hole, is EFAULT.
   */
  *pin(mm: Mm, vaddrPage: number, nrPages: number, write: boolean): Sliced<PinnedRun> {
    if (vaddrPage >= TASK_SIZE_PAGES) throw efault('vaddr is not in user space');
    const vaddr = vaddrPage * PAGE_SIZE;
    const vma = mappingAt(mm, vaddr);
    if (!vma || !(write ? vma.writable : vma.readable)) {
      throw efault(`vaddr ${hex(vaddr)} is not ${write ? 'writable' : 'readable'} by its process`);
    }
    const inVma = Math.min(nrPages, (vma.end - vaddr) / PAGE_SIZE);
    const device = this.#deviceMemory.find(vma);
    if (device) return pinDevice(device, vma, vaddr, inVma);
    if (write && !this.#writesSharedFiles && mm.space.tracksDirtyPages(vma)) {
      // MAP-17
      throw efault(`vaddr ${hex(vaddr)} is of a file that is written back: not to be pinned for writing`);
    }
    const reserved = this.#reserved?.find(vma);
    const first = (vma.offset + vaddr - vma.start) / PAGE_SIZE;
    const isObject = vma.inode !== 0 && vma.shared;
    const object = reserved ?? (isObject ? yield* this.#objects.place(mm, vma, first + inVma, write) : undefined);
    const run = object ? pinObject(object, vma, vaddr, inVma) : this.#pinPrivate(mm, vaddrPage, inVma, write);
    if (!run.reserved) this.pinnedPages += run.nrPages;
    return run;
  }

  /**
   * Pins private memory. It has no object that outlives its address space, so devices reach it
   * through the process. Pages that are only read and were never written are the zero page, which
   * 5.12 takes for device memory (ACC-2). DEVIATION: the devices see what the process writes there
   * later; on Linux the zero page stays pinned for them.
   */
  #pinPrivate(mm: Mm, vaddrPage: number, nrPages: number, write: boolean): PinnedRun {
    const looks = !write && !this.#zeroPageCharged;
    const same = looks ? mm.space.privateRun(vaddrPage * PAGE_SIZE, nrPages) : { nrPages, zeroPage: false };
    return { ...this.#windows.place(mm, vaddrPage, same.nrPages), reserved: same.zeroPage };
  }

  /** Pins pages of a file of pkernfs by their place. Undefined where there is no such file. */
  pinReserved(pfn: number, nrPages: number): PinnedRun | undefined {
    const backing = this.#reserved?.findPages(pfn, nrPages);
    if (!backing) return undefined;
    this.pinnedPages += nrPages;
    return { pfn, nrPages, reserved: false, backing };
  }

  /** Splits a pinned run into runs of one page each, which are unpinned one by one. */
  split(run: PinnedRun): PinnedRun[] {
    const { pfn, nrPages, reserved, backing, device } = run;
    for (let i = 1; i < nrPages; i++) backing.get();
    return Array.from({ length: nrPages }, (_, i) => ({ pfn: pfn + i, nrPages: 1, reserved, backing, device }));
  }

  /** Lets a run go. Only after the flush that covers it (UNM-15). */
  unpin(run: PinnedRun): void {
    if (!run.reserved) this.pinnedPages -= run.nrPages;
    run.backing.put();
  }

  /**
   * Gives the board back the memory that is attached but not pinned. Called when a container has
   * gone.
   */
  trim(): void {
    this.#objects.trim();
  }
}

/** The backing of memory that need not be kept. */
const NO_BACKING: Omit<Backing, 'startPfn'> = { get: () => undefined, put: () => undefined };

function pinObject({ backing, nrPages: there }: PlacedObject, vma: Vma, vaddr: number, nrPages: number): PinnedRun {
  const first = (vma.offset + vaddr - vma.start) / PAGE_SIZE;
  if (first >= there) {
    backing.put();
    throw efault(`vaddr ${hex(vaddr)} is beyond the end of its object`);
  }
  return { pfn: backing.startPfn + first, nrPages: Math.min(nrPages, there - first), reserved: false, backing };
}

/**
 * follow_fault_pfn: pages of a BAR. They are there for as long as the board is. EFAULT while the
 * device does not answer (ACC-4, P2P-7).
 */
function pinDevice(device: DeviceMemory, vma: Vma, vaddr: number, nrPages: number): PinnedRun {
  const { startPfn, objectOffset } = device;
  const first = (vma.offset - objectOffset + vaddr - vma.start) / PAGE_SIZE;
  if (first >= device.nrPages || !device.answers()) throw efault(`vaddr ${hex(vaddr)}: the device does not answer`);
  const backing = { startPfn, ...NO_BACKING };
  return { pfn: startPfn + first, nrPages: Math.min(nrPages, device.nrPages - first), reserved: true, backing, device };
}

/**
 * The mapping that covers a vaddr; none in an address space that has just died. EFAULT where an
 * access to the mapping may block. The kernel's or a device's thread would block there, and for
 * ever if the client wants. DEVIATION: on Linux the client itself would wait there, and then its
 * file on FUSE or NFS is pinned for reading (6.5 and later refuse it for writing: EFAULT, MAP-13).
 */
export function mappingAt(mm: Mm, vaddr: number): Vma | undefined {
  let vma: Vma | undefined;
  try {
    vma = mm.space.vmaAt(vaddr);
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return undefined; // it has just died
    throw error;
  }
  if (vma && mm.space.mayBlock(vma)) throw efault(`vaddr ${hex(vaddr)} is of a file whose server may not answer`);
  return vma;
}
