/**
 * The address space of another process, as a kernel sees it: the object behind a vaddr, and its
 * bytes. Open files of /proc/<pid> hold the mm that they were opened in. After an execve of that
 * process they never find the new image. They find nothing (like a mm_struct of a kernel whose
 * users are gone), unless another process shares the old memory (clone(2), CLONE_VM).
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  type Stats,
  statSync,
} from 'node:fs';
import { codeOf, eacces, esrch, SysError } from './errno.ts';
import { type FileSystemKind, fileSystemKind, majorOf, minorOf } from './file-systems.ts';
import { pread, pwrite } from './libc/file-bytes.ts';
import { MapsText } from './maps-text.ts';
import { ObjectFinder } from './object-finder.ts';
import { PAGE_SIZE } from './page.ts';
import { queryMapping } from './procmap-query.ts';
import type { Sliced } from './slices.ts';
import type { Vma } from './vma.ts';

const KIB_PER_PAGE = 4;

/** Documentation/admin-guide/mm/pagemap.rst: one u64 per page. */
const PM_EXCLUSIVE = 1n << 56n;
const PM_FILE = 1n << 61n;
const PM_SWAP = 1n << 62n;
const PM_PRESENT = 1n << 63n;

function readPagemap(pid: number, firstPage: number, nrPages: number): BigUint64Array {
  const fd = openSync(`/proc/${pid}/pagemap`, 'r');
  try {
    const entries = new BigUint64Array(nrPages);
    readSync(fd, entries, 0, entries.byteLength, firstPage * entries.BYTES_PER_ELEMENT);
    return entries;
  } finally {
    closeSync(fd);
  }
}

/** What was read of a /proc/<pid>/status; the line that tells of mlock(2) is near its start. */
const statusText = Buffer.alloc(4096);
const LOCKED = Buffer.from('\nVmLck:');

/** getauxval(3): the address of 16 random bytes, which Linux makes anew for each image. */
const AT_RANDOM = 25n;
const RANDOM_BYTES = 16;

/** The faster ways that may be tried before the way that works everywhere; default: all. */
export interface AddressSpaceWays {
  /** Look mappings up by PROCMAP_QUERY (Linux 6.11 and later). */
  readonly procmapQuery?: boolean;
  /** Open objects through map_files (CAP_CHECKPOINT_RESTORE). */
  readonly mapFiles?: boolean;
}

/** An address space: alive until its last user exits or execs. Close it. */
export class AddressSpace {
  readonly pid: number;
  readonly #maps: number;
  readonly #mem: number;
  /** What Linux told the image at its start (getauxval(3)): most of it are random addresses. */
  readonly #auxv: Buffer;
  /** /proc/<pid>/status, of whatever address space the process has now. */
  #status: number | undefined;
  readonly #objects: ObjectFinder;
  #canQuery: boolean;
  #text: MapsText | undefined;
  #remembers = false;

  /**
   * The address space process `pid` has now. ESRCH when it is gone, EACCES when it may not be
   * ptraced, ENFILE when we have no fd left.
   */
  constructor(pid: number, { procmapQuery = true, mapFiles = true }: AddressSpaceWays = {}) {
    this.pid = pid;
    this.#canQuery = procmapQuery;
    this.#objects = new ObjectFinder(pid, mapFiles);
    this.#maps = openProc(pid, 'maps', 'r');
    try {
      this.#auxv = auxvOf(pid);
      this.#mem = openProc(pid, 'mem', 'r+');
    } catch (error) {
      closeSync(this.#maps);
      throw error;
    }
  }

  close(): void {
    if (this.#status !== undefined) closeSync(this.#status);
    closeSync(this.#maps);
    closeSync(this.#mem);
  }

  /** Whether it still has users (mmget_not_zero): false after exit or execve. */
  alive(): boolean {
    const byte = new Uint8Array(1);
    try {
      return readSync(this.#maps, byte, 0, 1, 0) === 1;
    } catch (error) {
      if (codeOf(error) === 'ESRCH') return false; // reaped meanwhile
      throw error;
    }
  }

  /**
   * Whether the process has this address space now. It may have another one, and this one may be
   * alive all the same: see the head of this file. False, too, where the process may no longer be
   * looked into. ENFILE when we have no fd left.
   */
  isCurrent(): boolean {
    try {
      return this.alive() && auxvOf(this.pid).equals(this.#auxv) && this.#hasRandomBytesOf(this.pid);
    } catch (error) {
      if (error instanceof SysError && (error.code === 'ESRCH' || error.code === 'EACCES')) return false;
      throw error;
    }
  }

  /**
   * Tells two images from each other whose addresses are the same (personality(2),
   * ADDR_NO_RANDOMIZE).
   */
  #hasRandomBytesOf(pid: number): boolean {
    const vaddr = auxvValue(this.#auxv, AT_RANDOM);
    if (vaddr === undefined) return true;
    const [here, there] = [Buffer.alloc(RANDOM_BYTES), Buffer.alloc(RANDOM_BYTES)];
    const now = openProc(pid, 'mem', 'r');
    try {
      return this.read(vaddr, here) === transfer(() => pread(now, there, vaddr)) && here.equals(there);
    } finally {
      closeSync(now);
    }
  }

  /**
   * Pages that the process has locked by mlock(2) (VmLck); 0 for a dead address space. The first
   * call opens a file more.
   */
  // HOT: once for each MAP_DMA under a limit, 12 µs
  mlockedPages(): number {
    const length = this.#alive(() => {
      this.#status ??= openProc(this.pid, 'status', 'r');
      return pread(this.#status, statusText, 0);
    });
    const line = statusText.indexOf(LOCKED);
    if (length === undefined || line < 0 || line >= length) return 0; // behind `length` is another read
    const value = line + LOCKED.length;
    return Number.parseInt(statusText.toString('latin1', value, value + 20), 10) / KIB_PER_PAGE;
  }

  /**
   * The kind of the private pages from `vaddr` on, and how many of that kind follow each other, at
   * most nrPages. A page that nobody has written to is backed by the zero page; others have a page
   * of their own. Memory that a fork shares copy-on-write counts as the zero page.
   */
  privateRun(vaddr: number, nrPages: number): { readonly nrPages: number; readonly zeroPage: boolean } {
    const entries = this.#alive(() => readPagemap(this.pid, vaddr / PAGE_SIZE, nrPages)) ?? new BigUint64Array(nrPages);
    const isZero = (entry: bigint): boolean =>
      (entry & PM_SWAP) === 0n && ((entry & PM_PRESENT) === 0n || (entry & (PM_EXCLUSIVE | PM_FILE)) === 0n);
    const zeroPage = isZero(entries[0] ?? 0n);
    const other = entries.findIndex((entry) => isZero(entry) !== zeroPage);
    return { nrPages: other < 0 ? nrPages : other, zeroPage };
  }

  /**
   * The result of `read`, which looks into /proc/<pid>, if this address space is still alive;
   * undefined otherwise. `read` sees the address space that the process has now: another one only
   * where somebody shares this one.
   */
  #alive<T>(read: () => T): T | undefined {
    try {
      const found = read();
      return this.alive() ? found : undefined;
    } catch (error) {
      if (this.alive()) throw error;
      return undefined;
    }
  }

  /** The mapping that covers `vaddr`, or undefined. ESRCH when the address space is dead. */
  vmaAt(vaddr: number): Vma | undefined {
    return this.#canQuery ? this.#queryVma(vaddr) : this.#readVma(vaddr);
  }

  #queryVma(vaddr: number): Vma | undefined {
    try {
      return queryMapping(this.#maps, vaddr);
    } catch (error) {
      if (codeOf(error) !== 'ENOTTY') throw error;
      this.#canQuery = false; // Linux before 6.11
      return this.#readVma(vaddr);
    }
  }

  /** The same answer by reading the text form (Linux before 6.11). */
  #readVma(vaddr: number): Vma | undefined {
    this.#text ??= new MapsText(this.#maps);
    if (!this.#remembers) this.#text.forget();
    const vma = this.#text.find(vaddr);
    if (!vma && this.#text.isEmpty) throw esrch(`address space of process ${this.pid} is gone`);
    return vma;
  }

  /**
   * Sets whether answers may be cached, from this call to the next one. They may be cached within
   * one system call of that process, which it sees as a single moment.
   */
  remember(on: boolean): void {
    this.#remembers = on;
    this.#text?.forget();
  }

  /**
   * Copies bytes at `vaddr` out; bytes copied, 0 when the address space is dead or nothing is
   * mapped there.
   */
  read(vaddr: number, into: Uint8Array): number {
    return transfer(() => pread(this.#mem, into, vaddr));
  }

  /**
   * Copies bytes to `vaddr`; bytes copied, as read(). /proc/<pid>/mem ignores write protection:
   * check the Vma first.
   */
  write(vaddr: number, from: Uint8Array): number {
    return transfer(() => pwrite(this.#mem, from, vaddr));
  }

  /**
   * Whether an access to a page of the mapping may wait for anything but this machine's memory and
   * disks. That is so for a file on FUSE, NFS and the like, and for a device.
   */
  mayBlock(vma: Vma): boolean {
    return vma.inode !== 0 && this.#fileSystem(vma) === undefined;
  }

  /**
   * Whether writes to a page of the mapping go to a file that is stored elsewhere
   * (vma_needs_dirty_tracking).
   */
  tracksDirtyPages(vma: Vma): boolean {
    return vma.inode !== 0 && vma.shared && this.#fileSystem(vma) !== 'memory';
  }

  #fileSystem({ major, minor }: Vma): FileSystemKind | undefined {
    return fileSystemKind(`${major}:${minor}`, this.pid);
  }

  /**
   * Opens the object behind a file mapping read-write, and never waits for it (ObjectFinder). The
   * caller closes it. Undefined where the object exists but cannot be opened so. EACCES names what
   * is missing.
   */
  openObject(vma: Vma): Sliced<number | undefined> {
    return this.#objects.open(vma);
  }
}

/** A text key for the object behind a mapping. It equals the fdObjectKey of a fd of that object. */
export const vmaObjectKey = ({ major, minor, inode }: Vma): string => `${major}:${minor}:${inode}`;

const keyOf = ({ dev, ino }: Stats): string => `${majorOf(dev)}:${minorOf(dev)}:${ino}`;

export const fdObjectKey = (fd: number): string => keyOf(fstatSync(fd));

/** The same for fd `fd` of process `pid`; undefined if it is not open. */
export function objectKeyOf(pid: number, fd: number): string | undefined {
  try {
    return keyOf(statSync(`/proc/${pid}/fd/${fd}`));
  } catch {
    return undefined; // not open: EBADF for the caller
  }
}

function auxvOf(pid: number): Buffer {
  const fd = openProc(pid, 'auxv', 'r');
  try {
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** The value of a type in the auxv of a 64-bit image: pairs of unsigned longs. */
function auxvValue(auxv: Buffer, type: bigint): number | undefined {
  for (let at = 0; at + 16 <= auxv.length; at += 16) {
    if (auxv.readBigUInt64LE(at) === type) return Number(auxv.readBigUInt64LE(at + 8));
  }
  return undefined;
}

function openProc(pid: number, name: string, flags: string): number {
  try {
    return openSync(`/proc/${pid}/${name}`, flags);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT' || code === 'ESRCH') throw esrch(`no process ${pid}`);
    if (code === 'EMFILE' || code === 'ENFILE') throw new SysError('ENFILE', `/proc/${pid}/${name}: ${code}`);
    throw eacces(
      `/proc/${pid}/${name}: ${code}; the host must be allowed to ptrace its clients (same user; kernel.yama.ptrace_scope ≤ 1, or CAP_SYS_PTRACE)`,
    );
  }
}

/**
 * Bytes moved; 0 for the errors that mean "nothing there" on /proc/<pid>/mem (EIO at a hole, ESRCH
 * for a dead process).
 */
function transfer(move: () => number): number {
  try {
    return move();
  } catch (error) {
    if (error instanceof SysError && (error.code === 'EIO' || error.code === 'ESRCH' || error.code === 'EFAULT'))
      return 0;
    throw error;
  }
}

/**
 * Inode of the socket behind fd `fd` of process `pid`; undefined if it is not a socket or not open.
 */
export function socketInode(pid: number, fd: number): number | undefined {
  try {
    const match = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`));
    return match ? Number(match[1]) : undefined;
  } catch {
    return undefined; // not open: EBADF for the caller
  }
}

/**
 * Translates a thread id of process `pid` into this process' numbering. The id is the same unless
 * process `pid` lives in a PID namespace below ours. Undefined when the process has no such thread.
 */
export function threadOf(pid: number, tid: number): number | undefined {
  try {
    if (idsOf(`/proc/${pid}/status`).length <= 1) return existsSync(`/proc/${pid}/task/${tid}`) ? tid : undefined;
    const names = readdirSync(`/proc/${pid}/task`);
    const name = names.find((one) => idsOf(`/proc/${pid}/task/${one}/status`).at(-1) === tid);
    return name === undefined ? undefined : Number(name);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}

/**
 * NSpid: the ids of a task in each PID namespace that it is in, from ours to its own (proc(5));
 * empty before Linux 4.1.
 */
function idsOf(statusPath: string): readonly number[] {
  const ids = /^NSpid:\s*(.*)$/m.exec(readFileSync(statusPath, 'latin1'))?.[1];
  return ids === undefined ? [] : ids.split(/\s+/).map(Number);
}
