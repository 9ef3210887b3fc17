/**
 * VFIO_DEVICE_FEATURE (vfio_ioctl_device_feature, vfio_pci_core_ioctl_feature). A plain PCI function has the low power features:
 * a state in which its memory BARs do not answer (NUM-3; vectors README, 23); from 6.19 on DMA_BUF, too. It cannot be migrated.
 */
import { einval, enotty } from '../../../../platform/errno.ts';
import type { Caller } from '../../open-file.ts';
import type { Profile } from '../../profile.ts';
import type { UserArg } from '../../user-arg.ts';
import {
  DeviceFeature,
  DeviceFeatureDmaBuf,
  VFIO_DEVICE_FEATURE_DMA_BUF,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
} from '../uapi.ts';
import { getDmaBuf } from './dma-buf.ts';
import { EventTrigger } from './event-trigger.ts';
import type { Bar } from './resources.ts';

const GET_OR_SET = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
const KNOWN_FLAGS = VFIO_DEVICE_FEATURE_MASK | GET_OR_SET | VFIO_DEVICE_FEATURE_PROBE;
/** struct vfio_device_low_power_entry_with_wakeup: s32 wakeup_eventfd, u32 reserved. */
const ENTRY_WITH_WAKEUP_BYTES = 8;

/** pm_runtime_engaged: what the user has asked for; our functions draw no power. */
export class LowPower {
  #engaged = false;
  /** Signalled when the function leaves low power by itself, which none does. */
  #wakeup: EventTrigger | undefined;
  readonly #changed: (engaged: boolean) => void;

  /** `changed` is told: the BARs answer nobody while it is engaged (PCI-8). */
  constructor(changed: (engaged: boolean) => void) {
    this.#changed = changed;
  }

  get engaged(): boolean {
    return this.#engaged;
  }

  enter(wakeup: EventTrigger | undefined): void {
    if (this.#engaged) {
      wakeup?.close();
      throw einval('the device is in low power already');
    }
    this.#engaged = true;
    this.#wakeup = wakeup;
    this.#changed(true);
  }

  /** No error when it is not in low power. */
  exit(): void {
    this.#wakeup?.close();
    this.#wakeup = undefined;
    if (!this.#engaged) return;
    this.#engaged = false;
    this.#changed(false);
  }
}

export interface FeatureOptions {
  readonly profile: Profile;
  readonly lowPower: LowPower;
  readonly bars: readonly (Bar | undefined)[];
}

export function deviceFeature(arg: UserArg, { profile, lowPower, bars }: FeatureOptions, caller: Caller): number {
  const { argsz, flags } = DeviceFeature.read(arg.copyIn(DeviceFeature.size));
  if (argsz < DeviceFeature.size || (flags & ~KNOWN_FLAGS) !== 0) {
    throw einval(`feature: argsz ${argsz}, flags 0x${flags.toString(16)}`);
  }
  if ((flags & VFIO_DEVICE_FEATURE_PROBE) === 0 && (flags & GET_OR_SET) === GET_OR_SET)
    throw einval('GET and SET at once');
  const room = argsz - DeviceFeature.size;
  const feature = flags & VFIO_DEVICE_FEATURE_MASK;
  if (feature > profile.lastFeature) throw enotty(`no feature ${feature}`);
  switch (feature) {
    case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY:
      if (isWanted(flags, VFIO_DEVICE_FEATURE_SET, room, 0)) lowPower.enter(undefined);
      return 0;
    case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP:
      if (isWanted(flags, VFIO_DEVICE_FEATURE_SET, room, ENTRY_WITH_WAKEUP_BYTES)) {
        const entry = arg.copyIn(ENTRY_WITH_WAKEUP_BYTES, DeviceFeature.size);
        lowPower.enter(new EventTrigger(caller.eventfd(entry.getInt32(0, true))));
      }
      return 0;
    case VFIO_DEVICE_FEATURE_LOW_POWER_EXIT:
      if (isWanted(flags, VFIO_DEVICE_FEATURE_SET, room, 0)) lowPower.exit();
      return 0;
    case VFIO_DEVICE_FEATURE_DMA_BUF:
      if (isWanted(flags, VFIO_DEVICE_FEATURE_GET, room, DeviceFeatureDmaBuf.size)) getDmaBuf(arg, bars);
      return 0;
    case VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2:
      throw einval('the device cannot copy its state before it stops'); // which is asked first
  }
  throw enotty(`no feature ${feature}`);
}

/** vfio_check_feature for a feature with one verb, GET or SET: false for a successful PROBE. */
function isWanted(flags: number, verb: number, room: number, bytes: number): boolean {
  if ((flags & GET_OR_SET & ~verb) !== 0)
    throw einval(`the feature can only be ${verb === VFIO_DEVICE_FEATURE_GET ? 'read' : 'set'}`);
  if ((flags & VFIO_DEVICE_FEATURE_PROBE) !== 0) return false;
  if ((flags & verb) === 0) throw einval('neither GET, SET nor PROBE');
  if (room < bytes) throw einval(`the feature's data is ${bytes} bytes`);
  return true;
}
