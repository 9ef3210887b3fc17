/**
 * Knows the file systems whose files may be touched by a thread that must not wait: their pages
 * come from memory or from a local disk. Other file systems (FUSE, NFS, 9p, …) have a server that
 * may never answer. That server can even be a process of the same client.
 */
import { fstatSync, readFileSync } from 'node:fs';

import { SysError } from './errno.ts';
import { close, open } from './libc/fd.ts';
import { MFD_CLOEXEC, MFD_HUGE_1GB, MFD_HUGE_2MB, MFD_HUGETLB, memfdCreate } from './libc/memfd.ts';
import { POLLERR, POLLPRI, poll } from './libc/poll.ts';

/**
 * memory: nothing lies behind the pages, so the kernel does not track which are dirty. Users can
 * mount these in their own user namespaces, which does no harm. disk: dirty pages are written back.
 */
export type FileSystemKind = 'memory' | 'disk';

const MEMORY = new Set('tmpfs hugetlbfs ramfs'.split(' '));
const DISK = new Set('ext2 ext3 ext4 xfs btrfs f2fs bcachefs zfs'.split(' '));
/**
 * A file system on top of others. It is ordinary where the administrator of the host has mounted
 * it, which `trusted` says.
 */
const STACKED = 'overlay';

/** gnu_dev_major and gnu_dev_minor of glibc, for st_dev below 2^32. */
export const majorOf = (dev: number): number => (dev >>> 8) & 0xfff;
export const minorOf = (dev: number): number => (dev & 0xff) | ((dev >>> 12) & 0xfff00);

/**
 * The ordinary file systems in a /proc/<pid>/mountinfo (proc_pid_mountinfo(5)), by device number
 * (`major:minor`).
 */
export function ordinaryDevices(
  mountinfo: string,
  { trusted }: { readonly trusted: boolean },
): Map<string, FileSystemKind> {
  const devices = new Map<string, FileSystemKind>();
  for (const line of mountinfo.split('\n')) {
    const [mount, superBlock] = line.split(' - ');
    const device = mount?.split(' ')[2];
    const type = superBlock?.split(' ')[0];
    if (device === undefined || type === undefined) continue;
    if (MEMORY.has(type)) devices.set(device, 'memory');
    else if (DISK.has(type) || (trusted && type === STACKED)) devices.set(device, 'disk');
  }
  return devices;
}

/**
 * The kernel's own mounts, which no mountinfo lists: memfds, shared anonymous memory, System V
 * shared memory, and huge pages.
 */
function internalDevices(): Set<string> {
  const devices = new Set<string>();
  for (const flags of [0, MFD_HUGETLB, MFD_HUGETLB | MFD_HUGE_2MB, MFD_HUGETLB | MFD_HUGE_1GB]) {
    try {
      const fd = memfdCreate('device', MFD_CLOEXEC | flags);
      const { dev } = fstatSync(fd);
      close(fd);
      devices.add(`${majorOf(dev)}:${minorOf(dev)}`);
    } catch (error) {
      // this machine has no huge pages of that size
      if (!(error instanceof SysError) || flags === 0) throw error;
    }
  }
  return devices;
}

const OWN_MOUNTS = '/proc/self/mountinfo';

class Mounts {
  readonly #internal = internalDevices();
  /**
   * A fd to poll: an event of the priority kind says that a mount has come or gone since the last
   * look.
   */
  readonly #watch = open(OWN_MOUNTS, 0);
  #own: Map<string, FileSystemKind> | undefined;

  kindOf(device: string, pid: number): FileSystemKind | undefined {
    if (this.#internal.has(device)) return 'memory';
    return this.#ownDevices().get(device) ?? devicesOf(pid).get(device);
  }

  close(): void {
    close(this.#watch);
  }

  #ownDevices(): Map<string, FileSystemKind> {
    const changed = poll([{ fd: this.#watch, events: POLLPRI | POLLERR }], 0) !== undefined;
    if (changed || !this.#own) this.#own = ordinaryDevices(readFileSync(OWN_MOUNTS, 'utf8'), { trusted: true });
    return this.#own;
  }
}

/**
 * The mounts that process `pid` sees, if it is in another mount namespace. They are not cached, as
 * a device number may soon mean another file system.
 */
function devicesOf(pid: number): Map<string, FileSystemKind> {
  try {
    return ordinaryDevices(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'), { trusted: false });
  } catch {
    return new Map(); // it has gone
  }
}

let mounts: Mounts | undefined;

/**
 * The kind of the file system on device `major:minor`, as the host or process `pid` sees it
 * mounted; undefined if it is none of the ordinary ones.
 */
export function fileSystemKind(device: string, pid: number): FileSystemKind | undefined {
  mounts ??= new Mounts();
  return mounts.kindOf(device, pid);
}

/** Gives back what this thread keeps for fileSystemKind(), which can be asked again. */
export function forgetFileSystems(): void {
  mounts?.close();
  mounts = undefined;
}
