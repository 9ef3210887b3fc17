/** Initial RAM disks: cpio archives of the "newc" kind (Linux, initramfs-buffer-format). */

const DIRECTORY = 0o40755;
const PROGRAM = 0o100755;
const FILE = 0o100644;
const END: Entry = { name: 'TRAILER!!!', mode: 0 };
const CHARACTER_DEVICE = 0o20600;

/**
 * A command line with which Linux leaves the console to its programs: else its watchdog speaks up
 * when this machine is so busy that the guest stands for seconds.
 */
export const QUIET_CONSOLE = 'console=ttyS0 quiet loglevel=1 nowatchdog';

/** The first lines of a busybox's /init: mounts what /dev, /proc and /sys are, and fills /bin. */
export const INIT_BEGINS = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
export PATH=/bin`;

interface Entry {
  readonly name: string;
  readonly mode: number;
  readonly content?: Uint8Array;
  /** Major and minor number of a device. */
  readonly device?: readonly [number, number];
}

export interface Contents {
  /** Not in an archive that only adds to another one: Linux unpacks one after the other. */
  readonly busybox?: Uint8Array;
  /** The text of /init. */
  readonly init: string;
  /** Files of /lib. */
  readonly files?: ReadonlyMap<string, Uint8Array>;
  /** Programs of /bin. */
  readonly programs?: ReadonlyMap<string, Uint8Array>;
}

export function initramfs({ busybox, init, files = new Map(), programs = new Map() }: Contents): Uint8Array {
  const entries: readonly Entry[] = [
    ...['bin', 'dev', 'lib', 'proc', 'sys'].map((name) => ({ name, mode: DIRECTORY })),
    { name: 'dev/console', mode: CHARACTER_DEVICE, device: [5, 1] },
    ...(busybox ? [{ name: 'bin/busybox', mode: PROGRAM, content: busybox }] : []),
    { name: 'init', mode: PROGRAM, content: Buffer.from(init) },
    ...[...programs].map(([name, content]) => ({ name: `bin/${name}`, mode: PROGRAM, content })),
    ...[...files].map(([name, content]) => ({ name: `lib/${name}`, mode: FILE, content })),
  ];
  return archive(entries);
}

/** An archive of files alone, by name. */
export const fileArchive = (files: ReadonlyMap<string, Uint8Array>): Uint8Array =>
  archive([...files].map(([name, content]) => ({ name, mode: FILE, content })));

const archive = (entries: readonly Entry[]): Uint8Array => Buffer.concat([...entries, END].map(archived));

function archived({ name, mode, content = new Uint8Array(), device = [0, 0] }: Entry, index: number): Uint8Array {
  const [inode, links, nameSize] = [index + 1, 1, name.length + 1];
  const fields = [inode, mode, 0, 0, links, 0, content.length, 0, 0, ...device, nameSize, 0];
  const head = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`;
  return Buffer.concat([padded(Buffer.from(head)), padded(content)]);
}

const padded = (bytes: Uint8Array): Uint8Array => Buffer.concat([bytes, new Uint8Array(-bytes.length & 3)]);
