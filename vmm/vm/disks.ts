/** The disks of a VM: open files that survive an update. */
import { fstatSync } from 'node:fs';

import { einval, SysError } from '../../platform/errno.ts';
import { open } from '../../platform/libc/fd.ts';
import { defineSection, type StateOf } from '../../platform/section.ts';
import { list } from '../../platform/shape.ts';
import { DISK_DESCRIPTION, type DiskDescription, openFlags } from '../machine/shared/disk-file.ts';
import { type DriveOption, planVirtio } from './virtio-options.ts';
import type { VmOptions } from './vm-state.ts';

/** In the order of the block devices. */
export const DISKS_SECTION = defineSection('disks', 1, { disks: list(DISK_DESCRIPTION) });

export type DisksState = StateOf<typeof DISKS_SECTION>;

/** Opens the file of a drive. Errors name the file in one line. EINVAL: it is no regular file. */
function openDisk({ file, cache, readOnly, serial }: DriveOption): DiskDescription {
  try {
    const fd = open(file, openFlags(readOnly, cache));
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw einval('not a regular file');
    return { fd, size: stat.size, readOnly, cache, serial };
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    const direct = error.code === 'EINVAL' && cache !== 'writeback' ? `; cache=${cache} may not be possible there` : '';
    throw new SysError(error.code, `-drive: ${file}: ${error.message}${direct}`);
  }
}

/** Opens the disks that the options name. Errors name the file in one line. */
export const openDisks = (options: VmOptions): readonly DiskDescription[] =>
  planVirtio(options).flatMap((device) => (device.kind === 'blk' ? [openDisk(device.drive)] : []));
