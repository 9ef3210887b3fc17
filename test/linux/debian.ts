/**
 * A stock Linux for RISC-V: the kernel and busybox of Debian's packages, in a folder of the test's
 * own. Nothing of it is kept.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { dependencyOf, ownApt, unpack } from './own-apt.ts';

/** In the order in which they can be loaded. */
const MODULES = [
  'drivers/block/virtio_blk.ko.xz',
  'drivers/char/hw_random/virtio-rng.ko.xz',
  'net/core/failover.ko.xz',
  'drivers/net/net_failover.ko.xz',
  'drivers/net/virtio_net.ko.xz',
];

export interface Debian {
  /** Path of Linux's Image. */
  readonly kernel: string;
  readonly busybox: Uint8Array;
  /** Modules by file name, unpacked, in the order in which they can be loaded. */
  readonly modules: ReadonlyMap<string, Uint8Array>;
}

/** Fetches the packages into `folder`; one line of why that is not possible. */
export function fetchDebian(folder: string): Debian | string {
  try {
    return fetch(folder);
  } catch (error) {
    return (error as Error).message.split('\n')[0]!;
  }
}

function fetch(folder: string): Debian {
  const run = ownApt(folder, 'riscv64');
  const image = dependencyOf('linux-image-riscv64', run);
  run('apt-get', 'download', '-qq', image, 'busybox-static');
  const root = unpack(folder, run);
  const release = image.replace('linux-image-', '');
  const modules = MODULES.map((path): [string, Uint8Array] => {
    const packed = join(root, 'usr/lib/modules', release, 'kernel', path);
    run('xz', '-d', packed);
    const file = packed.replace(/\.xz$/, '');
    return [file.slice(file.lastIndexOf('/') + 1), readFileSync(file)];
  });
  return {
    kernel: join(root, 'boot', `vmlinux-${release}`),
    busybox: readFileSync(join(root, 'usr/bin/busybox')),
    modules: new Map(modules),
  };
}
