/**
 * The VFIO core's part of VFIO_DEVICE_FEATURE (vfio_ioctl_device_feature). The core first tests the
 * arguments, for every device. It then answers the features of migration and DMA logging, which no
 * device here has. All other features are the driver's.
 */
import { einval, enotty, SysError } from '../../../platform/errno.ts';
import { hex } from '../../../platform/hex.ts';
import {
  DeviceFeature,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
} from '../../abi/vfio.ts';
import type { Caller } from '../core/open-file.ts';
import type { Profile } from '../core/profile.ts';
import type { UserArg } from '../core/user-arg.ts';
import type { DeviceOps, FeatureRequest } from './device.ts';

const GET_OR_SET = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
const KNOWN_FLAGS = VFIO_DEVICE_FEATURE_MASK | GET_OR_SET | VFIO_DEVICE_FEATURE_PROBE;

export function deviceFeature(
  arg: UserArg,
  caller: Caller,
  { ops, profile }: { readonly ops: DeviceOps; readonly profile: Profile },
): number {
  const { argsz, flags } = arg.read(DeviceFeature);
  if (argsz < DeviceFeature.size || (flags & ~KNOWN_FLAGS) !== 0) {
    throw einval(`feature: argsz ${argsz}, flags ${hex(flags)}`);
  }
  if ((flags & VFIO_DEVICE_FEATURE_PROBE) === 0 && (flags & GET_OR_SET) === GET_OR_SET)
    throw einval('GET and SET at once');
  const feature = flags & VFIO_DEVICE_FEATURE_MASK;
  switch (feature) {
    case VFIO_DEVICE_FEATURE_MIGRATION:
    case VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE:
    case VFIO_DEVICE_FEATURE_MIG_DATA_SIZE:
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_START:
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP:
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT:
      throw enotty(`${ops.name} cannot be migrated`);
    case VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2:
      if (feature > profile.lastFeature) break;
      throw einval('the device cannot copy its state before it stops'); // NUM-3
  }
  if (!ops.feature) throw new SysError(profile.noDriverFeatures, `the driver of ${ops.name} has no features`);
  return ops.feature({ feature, flags, room: argsz - DeviceFeature.size }, arg, caller);
}

/**
 * vfio_check_feature for a feature with one verb, GET or SET, and `bytes` of data. False means a
 * successful PROBE.
 */
export function isWanted({ flags, room }: FeatureRequest, verb: number, bytes: number): boolean {
  if ((flags & GET_OR_SET & ~verb) !== 0)
    throw einval(`the feature can only be ${verb === VFIO_DEVICE_FEATURE_GET ? 'read' : 'set'}`);
  if ((flags & VFIO_DEVICE_FEATURE_PROBE) !== 0) return false;
  if ((flags & verb) === 0) throw einval('neither GET, SET nor PROBE');
  if (room < bytes) throw einval(`the feature's data is ${bytes} bytes`);
  return true;
}
