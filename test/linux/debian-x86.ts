/**
 * A stock Linux for x86-64 with lspci, from Debian's packages, in a folder of the test's own.
 * Nothing of it is kept.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

import { kernelPackages, ownApt, unpack } from '../../tools/debian/own-apt.ts';

const LIBRARIES = 'usr/lib/x86_64-linux-gnu';
const LOADER = 'ld-linux-x86-64.so.2';

export interface DebianX86 {
  /** Path of Linux's bzImage. */
  readonly kernel: string;
  readonly busybox: Uint8Array;
  /** lspci and the dynamic linker. */
  readonly programs: ReadonlyMap<string, Uint8Array>;
  /** The libraries that lspci needs. */
  readonly libraries: ReadonlyMap<string, Uint8Array>;
}

/** Fetches the packages into `folder`; one line of why that is not possible. */
export function fetchDebianX86(folder: string): DebianX86 | string {
  try {
    return fetch(folder);
  } catch (error) {
    return (error as Error).message.split('\n')[0]!;
  }
}

function fetch(folder: string): DebianX86 {
  const run = ownApt(folder, 'amd64');
  run('apt-get', 'download', '-qq', ...kernelPackages('linux-image-cloud-amd64', run));
  run('apt-get', 'install', '-qq', '-y', '--download-only', 'busybox-static', 'pciutils');
  const root = unpack(folder, run);
  const lib = join(root, LIBRARIES);
  const lspci = join(root, 'usr/bin/lspci');
  const listed = run(join(lib, LOADER), '--library-path', lib, '--list', lspci);
  const needed = [...listed.matchAll(/=> (\S+)/g)].map(([, path]) => path!).filter((path) => !path.endsWith(LOADER));
  const read = (path: string): [string, Uint8Array] => [basename(path), readFileSync(path)];
  const image = readdirSync(join(root, 'boot')).find((name) => name.startsWith('vmlinuz-'))!;
  return {
    kernel: join(root, 'boot', image),
    busybox: readFileSync(join(root, 'usr/bin/busybox')),
    programs: new Map([lspci, join(lib, LOADER)].map(read)),
    libraries: new Map(needed.map(read)),
  };
}
