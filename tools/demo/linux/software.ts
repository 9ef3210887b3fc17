/** The files that a demo's Linux begins with: kernel, initial RAM disk, disk. */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { fileArchive, initramfs } from '../../debian/initramfs.ts';
import { debianLinux } from '../../debian/linux.ts';
import { guestPath } from '../../launch/programs.ts';
import { linuxInit, type Work } from './init.ts';

/** A kernel, and an initial RAM disk with /bin/busybox and modules for it. */
export interface OwnLinux {
  readonly kernel: string;
  readonly initrd: string;
}

export interface Software {
  readonly kernel: string;
  readonly initrd: string;
  readonly disk: string;
}

const FILES = 100;
/** The n-th file has n times as many bytes. */
const GROWTH = 600;
const SECTOR = 512;
const FRAMES = 'linux-frames';

/**
 * Writes them into `folder`. `from` is the user's own Linux, or a folder of Debian's packages,
 * which are fetched if they are not there. Throws an Error of one line when there is no Linux.
 */
export function linuxSoftware(folder: string, from: OwnLinux | string, work: Omit<Work, 'files'>): Software {
  const [initrd, disk] = [join(folder, 'initrd'), join(folder, 'disk')];
  const { kernel, base } = typeof from === 'string' ? ofDebian(from) : ofUser(from);
  const programs = new Map([['frames', readFileSync(guestPath(FRAMES))]]);
  const added = initramfs({ init: linuxInit({ ...work, files: FILES }), programs });
  writeFileSync(initrd, Buffer.concat([base, added]));
  writeFileSync(disk, checkedTree());
  return { kernel, initrd, disk };
}

interface Base {
  readonly kernel: string;
  /** An archive; Linux unpacks what comes behind it over it. A multiple of 4 bytes. */
  readonly base: Uint8Array;
}

function ofDebian(folder: string): Base {
  const { kernel, busybox, modules } = debianLinux(folder);
  const files = new Map([...modules, ['order', Buffer.from([...modules.keys()].join('\n'))]]);
  return { kernel, base: initramfs({ busybox, init: '', files }) };
}

function ofUser({ kernel, initrd }: OwnLinux): Base {
  const archive = readFileSync(initrd);
  return { kernel, base: Buffer.concat([archive, new Uint8Array(-archive.length & 3)]) };
}

/** An archive of random files and their sums. */
function checkedTree(): Uint8Array {
  const files = new Map(Array.from({ length: FILES }, (_, i) => [`${i}`, randomBytes(i * GROWTH)]));
  const sums = [...files].map(([name, content]) => `${createHash('md5').update(content).digest('hex')}  ${name}\n`);
  const archive = fileArchive(new Map([...files, ['sums', Buffer.from(sums.join(''))]]));
  return Buffer.concat([archive, new Uint8Array(SECTOR - (archive.length % SECTOR))]);
}
