/**
 * A holder is a process that shares the memory of this one (clone(2), CLONE_VM). While it lives, an
 * execve(2) of this process need not free that memory, page by page: it only drops a reference. The
 * holder frees it when it ends, on another CPU.
 *
 * It is the child of a posix_spawn(3), which shares its parent's memory until it executes a
 * program, and has copies of the parent's fds. First it closes those. Then it opens a file on which
 * this process has a lease (fcntl(2), "Leases"), and so it sleeps. The lease goes over the execve
 * with its fd. The holder wakes up when that fd is closed, also by the death of this process; after
 * 45 s (/proc/sys/fs/lease-break-time) Linux itself ends the lease. The program that it then
 * executes does not exist, so it ends. All signals but SIGKILL and SIGSTOP are blocked in it.
 */
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';

import { check } from './check.ts';
import { close, O_PATH, open } from './fd.ts';
import { c } from './ffi.ts';
import { memfdCreate } from './memfd.ts';

const O_RDONLY = 0;
const F_SETSIG = 10;
const F_SETLEASE = 1024;
const F_WRLCK = 1;
/** Says that the leased file is being opened. Who does not listen to it is not ended by it. */
const OPENING = 'SIGURG';
/** No file has this name (ENOENT). */
const NO_PROGRAM = '';
/** Room for a posix_spawn_file_actions_t; glibc's has 80 bytes. */
const ACTIONS_BYTES = 128;
/** It is asleep within 1 ms; on a busy machine it waits for a CPU first. */
const ASLEEP_WITHIN_MS = 1000;

export interface MemoryHolder {
  /** The fd of the leased file, close-on-exec. */
  readonly lease: number;
  /** It is a child of this process, also after an execve. */
  readonly pid: number;
}

/**
 * Starts a holder of this process' memory. When this resolves, it sleeps and has none of our fds.
 * undefined: there is no holder (glibc before 2.34; no leases; no /proc/PID/task/TID/children; no
 * fds, no room for a process). Listens to SIGURG, and needs a thread of libuv's pool until the
 * holder ends.
 */
export async function holdMemory(): Promise<MemoryHolder | undefined> {
  let lease: number | undefined;
  let ended: Promise<void> | undefined;
  try {
    const before = children();
    lease = leasedFile();
    const opening = once(process, OPENING, { signal: AbortSignal.timeout(ASLEEP_WITHIN_MS) });
    opening.catch(() => {}); // the race sees it, unless the next line throws
    ended = spawnOpener(lease);
    await Promise.race([opening, ended]);
    const pid = children().find((child) => !before.includes(child) && hasNoFds(child));
    if (pid !== undefined) return { lease, pid };
  } catch {
    // the reasons above, and AbortError: it is not asleep in time
  }
  if (lease !== undefined) close(lease);
  await ended;
  return undefined;
}

/**
 * Lets the holder end. Resolves when it has ended and its memory is free. The image that started it
 * can do this, and the one after the execve.
 */
export function endHolder({ lease, pid }: MemoryHolder): Promise<void> {
  close(lease);
  // it fails with ECHILD where this image's posix_spawn was quicker
  return new Promise((resolve) => c.waitpid.async(pid, null, 0, () => resolve()));
}

/** The children of this process, whichever of its threads has started them. */
const children = (): number[] =>
  readdirSync('/proc/self/task').flatMap((tid) => {
    try {
      return readFileSync(`/proc/self/task/${tid}/children`, 'latin1').split(' ').filter(Boolean).map(Number);
    } catch {
      return []; // the thread has ended, and another one has its children; or Linux does not tell
    }
  });

/** Whether the process has closed all fds but the one of its first step. */
function hasNoFds(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).join() === '0';
  } catch {
    return false; // it has ended
  }
}

/**
 * A file with a lease, so whoever opens it sleeps until the lease ends. EINVAL: there are no leases
 * (/proc/sys/fs/leases-enable), or not of a file in memory. EMFILE.
 */
function leasedFile(): number {
  const file = memfdCreate('livevmm-lease');
  let lease: number | undefined;
  try {
    lease = open(`/proc/self/fd/${file}`, O_RDONLY); // EAGAIN for a file that can be written to
    check(c.fcntl(lease, F_SETLEASE, F_WRLCK), 'F_SETLEASE');
    check(c.fcntl(lease, F_SETSIG, constants.signals[OPENING]), 'F_SETSIG');
    return lease;
  } catch (error) {
    if (lease !== undefined) close(lease);
    throw error;
  } finally {
    close(file);
  }
}

/**
 * Starts the process that opens the leased file. Resolves when it has ended, or if it could not be
 * started.
 */
function spawnOpener(lease: number): Promise<void> {
  const path = open(`/proc/self/fd/${lease}`, O_PATH); // which does not open the file
  // SAFETY: a posix_spawn_file_actions_t; it is read until the promise resolves
  const actions = new Uint8Array(new ArrayBuffer(ACTIONS_BYTES));
  return new Promise((resolve) => {
    const done = (): void => {
      close(path);
      resolve();
    };
    try {
      c.posix_spawn_file_actions_init(actions);
      c.posix_spawn_file_actions_adddup2(actions, path, 0);
      c.posix_spawn_file_actions_addclosefrom_np(actions, 1);
      c.posix_spawn_file_actions_addopen(actions, 1, '/proc/self/fd/0', O_RDONLY, 0);
    } catch {
      return done(); // this glibc has no closefrom
    }
    c.posix_spawn.async(null, NO_PROGRAM, actions, null, [NO_PROGRAM, null], [null], () => {
      c.posix_spawn_file_actions_destroy(actions);
      done();
    });
  });
}
