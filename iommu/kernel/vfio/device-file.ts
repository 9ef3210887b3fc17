/**
 * The file behind a device fd. It does what the VFIO core does for every device before it asks the
 * driver (vfio_device_fops, vfio_main.c).
 */
import { einval } from '../../../platform/errno.ts';
import { DEVICE_IOCTLS, VFIO_DEVICE_FEATURE } from '../../abi/vfio.ts';
import type { Caller, FileOperations, MappedFile, MmapRequest } from '../core/open-file.ts';
import type { Profile } from '../core/profile.ts';
import type { UserArg } from '../core/user-arg.ts';
import type { DeviceOps } from './device.ts';
import { deviceFeature } from './device-feature.ts';

export class DeviceFile implements FileOperations {
  readonly name: string;
  readonly ioctlNames = DEVICE_IOCTLS;
  readonly object?: number;
  readonly pread?: NonNullable<FileOperations['pread']>;
  readonly pwrite?: NonNullable<FileOperations['pwrite']>;
  readonly registerPage?: NonNullable<FileOperations['registerPage']>;
  readonly interruptPage?: NonNullable<FileOperations['interruptPage']>;
  readonly #ops: DeviceOps;
  readonly #profile: Profile;

  constructor(ops: DeviceOps, profile: Profile) {
    this.name = `anon:vfio-device ${ops.name}`;
    this.#ops = ops;
    this.#profile = profile;
    if (ops.object !== undefined) this.object = ops.object;
    if (ops.pread) this.pread = ops.pread.bind(ops);
    if (ops.pwrite) this.pwrite = ops.pwrite.bind(ops);
    if (ops.registerPage) this.registerPage = ops.registerPage.bind(ops);
    if (ops.interruptPage) this.interruptPage = ops.interruptPage.bind(ops);
  }

  ioctl(nr: number, arg: UserArg, caller: Caller): number | Promise<number> {
    if (nr === VFIO_DEVICE_FEATURE) return deviceFeature(arg, caller, { ops: this.#ops, profile: this.#profile });
    if (!this.#ops.ioctl) throw einval(`${this.name} has no ioctls`);
    return this.#ops.ioctl(nr, arg, caller);
  }

  /**
   * Every device file has an mmap, with or without one in the driver. The error is therefore EINVAL
   * and not ENODEV.
   */
  mmap(request: MmapRequest, caller: Caller): MappedFile {
    if (!this.#ops.mmap) throw einval(`${this.name} cannot be mapped`);
    return this.#ops.mmap(request, caller);
  }

  release(): void {
    this.#ops.release();
  }
}
