/**
 * Files of the host that the guest has open by semihosting. A position is kept here and not in the
 * open file, so what is done twice after a recovery has the same result. Errors are SysErrors.
 */
import { constants, fstatSync } from 'node:fs';

import { ebadf, einval, SysError } from '../../../platform/errno.ts';
import { fd } from '../../../platform/fd-shape.ts';
import { close, O_CLOEXEC, O_NOCTTY, O_NONBLOCK, openCreating } from '../../../platform/libc/fd.ts';
import { pread, pwrite } from '../../../platform/libc/file-bytes.ts';
import { integer, list, nullable, object, oneOf, type Shaped, text } from '../../../platform/shape.ts';

const HANDLE = object({
  /** `console` is ":tt"; `features` tells what there is beside the base operations. */
  kind: oneOf('file', 'console', 'features'),
  /** Of a file; null: its process is dead, and it is to be opened again. */
  fd: nullable(fd),
  path: text,
  flags: integer,
  position: integer,
});

/** By handle less 1. */
export const HANDLES = list(nullable(HANDLE));

export type Handles = Shaped<typeof HANDLES>;
type Handle = Shaped<typeof HANDLE>;

/** Other fds of the process must not run out. */
const MOST_HANDLES = 64;
const CONSOLE = ':tt';
const FEATURES = ':semihosting-features';
/** "SHFB"; bit 0: EXIT_EXTENDED, bit 1: ":tt" has an output of its own for errors. */
const FEATURE_BYTES = Uint8Array.of(0x53, 0x48, 0x46, 0x42, 0x03);
const { O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND } = constants;
/** By mode, of which bit 0 says "binary": r, r+, w, w+, a, a+ of fopen. */
const FLAGS = [
  O_RDONLY,
  O_RDWR,
  O_WRONLY | O_CREAT | O_TRUNC,
  O_RDWR | O_CREAT | O_TRUNC,
  O_WRONLY | O_CREAT | O_APPEND,
  O_RDWR | O_CREAT | O_APPEND,
];
/** Opening waits for nobody, whatever the name leads to. */
const ALWAYS = O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

export class SemihostingFiles {
  #handles: (Handle | null)[] = [];

  /** Opens a file by fopen's mode; returns its handle. */
  open(path: string, mode: number): number {
    const flags = FLAGS[mode >> 1];
    if (flags === undefined) throw einval(`mode ${mode}`);
    const free = this.#handles.indexOf(null);
    const at = free < 0 ? this.#handles.length : free;
    if (at === MOST_HANDLES) throw new SysError('EMFILE', `${MOST_HANDLES} files are open`);
    this.#handles[at] = openHandle(path, flags);
    return at + 1;
  }

  close(handle: number): void {
    const { fd } = this.#find(handle);
    this.#handles[handle - 1] = null;
    if (fd !== null) close(fd);
  }

  closeAll(): void {
    for (const [i, open] of this.#handles.entries()) if (open) this.close(i + 1);
    this.#handles = [];
  }

  isOpen(handle: number): boolean {
    return Boolean(this.#handles[handle - 1]);
  }

  isConsole(handle: number): boolean {
    return this.#find(handle).kind === 'console';
  }

  /** Bytes read at the position; 0 at the end, and of the console, which has no input here. */
  read(handle: number, into: Uint8Array): number {
    const open = this.#find(handle);
    let count = 0;
    if (open.kind === 'features') {
      const rest = FEATURE_BYTES.subarray(open.position, open.position + into.length);
      into.set(rest);
      count = rest.length;
    } else if (open.kind === 'file') count = pread(fdOf(open), into, open.position);
    this.#move(handle, open.position + count);
    return count;
  }

  /** Writes at the position, or at the end; returns how many bytes. */
  write(handle: number, bytes: Uint8Array): number {
    const open = this.#find(handle);
    if (open.kind !== 'file') throw ebadf(`handle ${handle} is read only`);
    const at = open.flags & O_APPEND ? fstatSync(fdOf(open)).size : open.position;
    const count = pwrite(fdOf(open), bytes, at);
    this.#move(handle, at + count);
    return count;
  }

  seek(handle: number, position: number): void {
    if (!(position >= 0)) throw einval(`position ${position}`);
    if (this.#find(handle).kind === 'console') throw new SysError('ESPIPE', 'the console has no positions');
    this.#move(handle, position);
  }

  length(handle: number): number {
    const open = this.#find(handle);
    if (open.kind === 'console') throw new SysError('ESPIPE', 'the console has no length');
    return open.kind === 'features' ? FEATURE_BYTES.length : fstatSync(fdOf(open)).size;
  }

  save(): Handles {
    return this.#handles;
  }

  /** A file without a fd is opened again, as it is. */
  restore(handles: Handles): void {
    this.#handles = handles.map((each) => (each?.kind === 'file' && each.fd === null ? reopened(each) : each));
  }

  #find(handle: number): Handle {
    const open = this.#handles[handle - 1];
    if (!open) throw ebadf(`handle ${handle}`);
    return open;
  }

  #move(handle: number, position: number): void {
    this.#handles[handle - 1] = { ...this.#find(handle), position };
  }
}

/** The handles as another process can take them, which lacks the fds. */
export const withoutFds = (handles: Handles): Handles => handles.map((each) => each && { ...each, fd: null });

function openHandle(path: string, flags: number): Handle {
  const handle = { fd: null, path, flags, position: 0 };
  if (path === CONSOLE) return { ...handle, kind: 'console' };
  if (path === FEATURES) return { ...handle, kind: 'features' };
  return { ...handle, kind: 'file', fd: openFile(path, flags) };
}

/** A file that has gone meanwhile is EBADF from then on. */
function reopened(handle: Handle): Handle {
  try {
    return { ...handle, fd: openFile(handle.path, handle.flags & ~(O_CREAT | O_EXCL | O_TRUNC)) };
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    return handle;
  }
}

/** EINVAL: it is no regular file. Such a one could wait for somebody. */
function openFile(path: string, flags: number): number {
  const fd = openCreating(path, flags | ALWAYS, 0o644);
  if (fstatSync(fd).isFile()) return fd;
  close(fd);
  throw einval(`${path}: no regular file`);
}

function fdOf({ fd, path }: Handle): number {
  if (fd === null) throw ebadf(`${path} is gone`);
  return fd;
}
