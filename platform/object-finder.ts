/**
 * Finds and opens the file behind a mapping of another process, in such a way that the other
 * process cannot hold this one up. The fds of that process may be FIFOs, devices, or files on FUSE
 * or on a dead NFS server. A file may also be under a write lease (fcntl(2), F_SETLEASE).
 *
 * The finder looks at a fd through /proc/<pid>/fd, by what the kernel knows of it already. It then
 * holds the fd by O_PATH, which opens nothing. It opens the file, with O_NONBLOCK, only if that is
 * still the regular file of the mapping. The caller makes sure that the file system of the mapping
 * is an ordinary one (file-systems.ts).
 */
import { type Dir, opendirSync } from 'node:fs';

import { eacces, SysError, withoutFds } from './errno.ts';
import { close, O_NOCTTY, O_NONBLOCK, O_PATH, O_RDWR, open } from './libc/fd.ts';
import { type FileIdentity, identify, identifyFd } from './libc/statx.ts';
import type { Sliced } from './slices.ts';
import type { Vma } from './vma.ts';

/**
 * The number of fds to try after the last one found: a process that makes objects one after the
 * other has them at consecutive fds.
 */
const NEXT_FDS = 4;
/** Fds looked at between two pauses. A look takes 2 µs. */
const LOOKS_PER_PAUSE = 16;

/**
 * errnos of open(2) that say: this file is there, and you may not open it like that, or not now.
 */
const REFUSALS: ReadonlySet<string> = new Set(['EAGAIN', 'EACCES', 'EPERM', 'EROFS', 'ETXTBSY']);

export class ObjectFinder {
  readonly #pid: number;
  readonly #tryMapFiles: boolean;
  /** Where the last object was found. */
  #lastFd = -1;

  constructor(pid: number, tryMapFiles = true) {
    this.#pid = pid;
    this.#tryMapFiles = tryMapFiles;
  }

  /**
   * Opens the file of `vma` for reading and writing. It tries map_files first, which needs
   * CAP_CHECKPOINT_RESTORE. Then it tries the process' own fds (same user suffices): a few guesses,
   * then all of them. Undefined when the file cannot be opened in this way: there is a lease on it
   * (EAGAIN; it would have to be broken, and its holder has lease-break-time seconds for that),
   * this process may not write it, or it is a program that runs. ENOMEM when this process has no fd
   * left. EACCES names what is missing.
   */
  *open(vma: Vma): Sliced<number | undefined> {
    const found = this.#inMapFiles(vma) ?? this.#guess(vma) ?? (yield* this.#search(vma));
    if (found === undefined) throw notFound(vma, this.#pid);
    try {
      return open(`/proc/self/fd/${found}`, O_RDWR | O_NONBLOCK | O_NOCTTY);
    } catch (error) {
      if (error instanceof SysError && REFUSALS.has(error.code)) return undefined;
      throw withoutFds(error);
    } finally {
      close(found);
    }
  }

  #inMapFiles(vma: Vma): number | undefined {
    if (!this.#tryMapFiles) return undefined;
    return hold(`/proc/${this.#pid}/map_files/${rangeOf(vma)}`, vma);
  }

  #guess(vma: Vma): number | undefined {
    if (this.#lastFd < 0) return undefined;
    for (let fd = this.#lastFd; fd <= this.#lastFd + NEXT_FDS; fd++) {
      const held = this.#holdFd(fd, vma);
      if (held !== undefined) return held;
    }
    return undefined;
  }

  *#search(vma: Vma): Sliced<number | undefined> {
    const dir = openFds(this.#pid);
    if (!dir) return undefined;
    try {
      for (let looks = 1; ; looks++) {
        const entry = dir.readSync();
        if (!entry) return undefined;
        const held = this.#holdFd(Number(entry.name), vma);
        if (held !== undefined) return held;
        if (looks % LOOKS_PER_PAUSE === 0) yield;
      }
    } finally {
      dir.closeSync();
    }
  }

  #holdFd(fd: number, vma: Vma): number | undefined {
    const path = `/proc/${this.#pid}/fd/${fd}`;
    const held = isOf(identify(path), vma) ? hold(path, vma) : undefined;
    if (held !== undefined) this.#lastFd = fd;
    return held;
  }
}

/**
 * A fd of O_PATH if the path leads to the file of `vma`. The fd refers to that file from then on,
 * whatever the other process does.
 */
function hold(path: string, vma: Vma): number | undefined {
  let held: number;
  try {
    held = open(path, O_PATH | O_NONBLOCK);
  } catch (error) {
    if (error instanceof SysError && (error.code === 'EMFILE' || error.code === 'ENFILE')) throw withoutFds(error);
    return undefined; // closed while we looked, or not allowed
  }
  if (isOf(identifyFd(held), vma)) return held;
  close(held);
  return undefined;
}

const isOf = (file: FileIdentity | undefined, vma: Vma): boolean =>
  file?.regular === true && file.inode === vma.inode && file.major === vma.major && file.minor === vma.minor;

function openFds(pid: number): Dir | undefined {
  try {
    return opendirSync(`/proc/${pid}/fd`);
  } catch {
    return undefined; // gone, or not to be looked into
  }
}

const rangeOf = ({ start, end }: Vma): string => `${start.toString(16)}-${end.toString(16)}`;

const notFound = (vma: Vma, pid: number): SysError =>
  eacces(
    `cannot open the object mapped at ${rangeOf(vma)} of process ${pid}: keep a file descriptor of it open there, or grant CAP_CHECKPOINT_RESTORE`,
  );
