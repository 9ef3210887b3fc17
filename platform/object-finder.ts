/**
 * Finding and opening the file behind a mapping of another process, so that nothing of that process
 * can hold us up: its fds may be FIFOs, devices, files on FUSE or on an NFS server that is dead,
 * and a file may be under a write lease (fcntl(2), F_SETLEASE).
 *
 * A fd is looked at through /proc/<pid>/fd, by what the kernel knows of it already; it is held by
 * O_PATH, which opens nothing; and only what is then still the regular file of the mapping is
 * opened, with O_NONBLOCK. The caller sees to it that the file system of the mapping is an ordinary
 * one (file-systems.ts).
 */
import { type Dir, opendirSync } from 'node:fs';

import { eacces, SysError, withoutFds } from './errno.ts';
import { close, type FileIdentity, identify, identifyFd, O_NOCTTY, O_NONBLOCK, O_PATH, O_RDWR, open } from './libc.ts';
import type { Sliced } from './slices.ts';
import type { Vma } from './vma.ts';

/** Whoever makes objects one after the other has them at fds one after the other. */
const NEXT_FDS = 4;
/** A look takes 2 µs. */
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
   * The file of `vma`, open for reading and writing. First through map_files, which needs
   * CAP_CHECKPOINT_RESTORE, then among the process' own fds (same user suffices): a few guesses,
   * then all of them. Undefined when it cannot be opened so: a lease is on it (EAGAIN; it would
   * have to be broken, and its holder has lease-break-time seconds for that), it is not ours to
   * write, or it is a program that runs. ENOMEM when this process has no fd left. EACCES names what
   * is missing.
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
 * A fd of O_PATH if the path leads to the file of `vma`: what it is stays so, whatever the other
 * process does meanwhile.
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
