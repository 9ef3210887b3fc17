/** A stock Linux for the benches. LIVEVMM_DEBIAN names the folder of Debian's packages. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { INIT_BEGINS, initramfs, QUIET_CONSOLE } from '../debian/initramfs.ts';
import { debianLinux } from '../debian/linux.ts';

/** Its first line: the shell is there. */
export const MARK = 'the shell is there';
const INIT = `${INIT_BEGINS}
exec /bin/busybox sh -c 'echo "${MARK}"; exec sh'
`;

export interface LinuxGuest {
  readonly kernel: string;
  /** Options for it beside the kernel's, spelled as QEMU and we spell them. */
  readonly options: readonly string[];
}

/** Writes its initial RAM disk into `folder`. undefined, with a line for the user: no packages. */
export function linuxGuest(folder: string): LinuxGuest | undefined {
  const { LIVEVMM_DEBIAN: packages } = process.env;
  if (packages === undefined) {
    process.stderr.write('livevmm: bench linux: LIVEVMM_DEBIAN names no folder for the packages of Debian\n');
    return undefined;
  }
  const { kernel, busybox } = debianLinux(packages);
  const initrd = join(folder, 'initrd');
  writeFileSync(initrd, initramfs({ busybox, init: INIT }));
  return { kernel, options: ['-initrd', initrd, '-append', QUIET_CONSOLE] };
}
