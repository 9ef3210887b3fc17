/**
 * A stock Linux for RISC-V: the kernel and busybox of Debian's packages, in a folder of the
 * caller's.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';

import { kernelPackages, ownApt, type Release, unpack } from './own-apt.ts';

/** In the order in which they can be loaded. */
const MODULES = [
  'drivers/virtio/virtio_mmio.ko.xz',
  'drivers/block/virtio_blk.ko.xz',
  'drivers/char/hw_random/virtio-rng.ko.xz',
  'net/core/failover.ko.xz',
  'drivers/net/net_failover.ko.xz',
  'drivers/net/virtio_net.ko.xz',
  'fs/netfs/netfs.ko.xz',
  'net/9p/9pnet.ko.xz',
  'fs/9p/9p.ko.xz',
  'net/9p/9pnet_virtio.ko.xz',
];
/**
 * Where a release's packages are unpacked. Of trixie some 110 MB are fetched, and 140 MB unpacked;
 * of forky 130 and 170.
 */
const UNPACKED = { trixie: 'root', forky: 'forky' } as const satisfies Record<Release, string>;
export const RELEASES = Object.keys(UNPACKED) as readonly Release[];

export interface DebianLinux {
  /** Linux's name for itself: `6.12.117+deb13-riscv64`. */
  readonly version: string;
  /** Path of Linux's Image. */
  readonly kernel: string;
  readonly busybox: Uint8Array;
  /** Modules by file name, unpacked, in the order in which they can be loaded. */
  readonly modules: ReadonlyMap<string, Uint8Array>;
}

/**
 * The Linux of a release in `folder`, which is fetched if it is not there. trixie's is 6.12;
 * forky's is 7.2 or later, and has a driver for the RISC-V IOMMU. Throws an Error of one line when
 * there is none to be had.
 */
export function debianLinux(folder: string, release: Release = 'trixie'): DebianLinux {
  const root = join(folder, UNPACKED[release]);
  if (!existsSync(join(root, 'usr/bin/busybox'))) fetch(folder, release);
  const modulesDir = join(root, 'usr/lib/modules');
  const version = readdirSync(modulesDir)[0];
  const kernel = [join(root, `boot/vmlinux-${version}`), join(modulesDir, `${version}`, 'vmlinuz')].find(existsSync);
  if (version === undefined || kernel === undefined) throw new Error(`${root} has no kernel`);
  const unpacked = (path: string): [string, Uint8Array] => [
    basename(path, '.xz'),
    execFileSync('xz', ['-dc', join(modulesDir, version, 'kernel', path)], { maxBuffer: 1 << 28 }),
  ];
  return {
    version,
    kernel,
    busybox: readFileSync(join(root, 'usr/bin/busybox')),
    modules: new Map(MODULES.map(unpacked)),
  };
}

/** The folder gets the packages' files whole or not at all. */
function fetch(folder: string, release: Release): void {
  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(join(folder, 'apt-'));
  try {
    const run = ownApt(work, 'riscv64', release);
    run('apt-get', 'download', '-qq', ...kernelPackages('linux-image-riscv64', run), 'busybox-static');
    renameSync(unpack(work, run), join(folder, UNPACKED[release]));
  } catch (error) {
    if (!existsSync(join(folder, UNPACKED[release]))) throw error; // another process was faster
  } finally {
    rmSync(work, { recursive: true });
  }
}
