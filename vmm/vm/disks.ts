/** The disks of a VM: open files that survive an update. */
import { DISK_DESCRIPTION, type DiskDescription, openDisk } from '../../devices/virtio/disk-file.ts';
import { defineSection, type StateOf } from '../../platform/section.ts';
import { list } from '../../platform/shape.ts';
import { planVirtio } from './virtio-options.ts';
import type { VmOptions } from './vm-state.ts';

/** In the order of the block devices. */
export const DISKS_SECTION = defineSection('disks', 1, { disks: list(DISK_DESCRIPTION) });

export type DisksState = StateOf<typeof DISKS_SECTION>;

/** Opens the disks that the options name. Errors name the file in one line. */
export const openDisks = (options: VmOptions): readonly DiskDescription[] =>
  planVirtio(options).flatMap((device) => (device.kind === 'blk' ? [openDisk(device.drive, '-drive')] : []));
