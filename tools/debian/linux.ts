/**
 * A stock Linux for RISC-V: the kernel and busybox of Debian's packages, in a folder of the
 * caller's.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';

import { dependencyOf, ownApt, unpack } from './own-apt.ts';

/** In the order in which they can be loaded. */
const MODULES = [
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
/** Of the packages: some 110 MB are fetched, and 140 MB unpacked. */
const UNPACKED = 'root';

export interface DebianLinux {
  /** Path of Linux's Image. */
  readonly kernel: string;
  readonly busybox: Uint8Array;
  /** Modules by file name, unpacked, in the order in which they can be loaded. */
  readonly modules: ReadonlyMap<string, Uint8Array>;
}

/**
 * The Linux in `folder`, which is fetched if it is not there. Throws an Error of one line when
 * there is none to be had.
 */
export function debianLinux(folder: string): DebianLinux {
  const root = join(folder, UNPACKED);
  if (!existsSync(join(root, 'usr/bin/busybox'))) fetch(folder);
  const image = readdirSync(join(root, 'boot')).find((name) => name.startsWith('vmlinux-'));
  if (image === undefined) throw new Error(`${folder} has no kernel`);
  const modules = join(root, 'usr/lib/modules', image.replace('vmlinux-', ''), 'kernel');
  const unpacked = (path: string): [string, Uint8Array] => [
    basename(path, '.xz'),
    execFileSync('xz', ['-dc', join(modules, path)], { maxBuffer: 1 << 28 }),
  ];
  return {
    kernel: join(root, 'boot', image),
    busybox: readFileSync(join(root, 'usr/bin/busybox')),
    modules: new Map(MODULES.map(unpacked)),
  };
}

/** The folder gets the packages' files whole or not at all. */
function fetch(folder: string): void {
  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(join(folder, 'apt-'));
  try {
    const run = ownApt(work, 'riscv64');
    run('apt-get', 'download', '-qq', dependencyOf('linux-image-riscv64', run), 'busybox-static');
    renameSync(unpack(work, run), join(folder, UNPACKED));
  } catch (error) {
    if (!existsSync(join(folder, UNPACKED))) throw error; // another process was faster
  } finally {
    rmSync(work, { recursive: true });
  }
}
