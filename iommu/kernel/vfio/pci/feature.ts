/**
 * The features of a PCI device (vfio_pci_core_ioctl_feature). A plain function has the features of
 * low power, a state in which its memory BARs do not answer (NUM-3). From 6.19 on it has DMA_BUF,
 * too.
 */
import { einval, enotty } from '../../../../platform/errno.ts';
import type { EventfdSources } from '../../../../platform/eventfd-source.ts';
import {
  DeviceFeature,
  DeviceFeatureDmaBuf,
  VFIO_DEVICE_FEATURE_DMA_BUF,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_SET,
} from '../../../abi/vfio.ts';
import type { Caller } from '../../core/open-file.ts';
import type { Profile } from '../../core/profile.ts';
import type { UserArg } from '../../core/user-arg.ts';
import type { FeatureRequest } from '../device.ts';
import { isWanted } from '../device-feature.ts';
import { getDmaBuf } from './dma-buf.ts';
import { EventTrigger } from './event-trigger.ts';
import type { Bar } from './resources.ts';

/** struct vfio_device_low_power_entry_with_wakeup: s32 wakeup_eventfd, u32 reserved. */
const ENTRY_WITH_WAKEUP_BYTES = 8;

/**
 * pm_runtime_engaged: the low-power state that the user has asked for. Our functions draw no power.
 */
export class LowPower {
  #engaged = false;
  /**
   * This eventfd is signalled when the function leaves low power by itself; no function here does.
   */
  #wakeup: EventTrigger | undefined;
  readonly #changed: (engaged: boolean) => void;

  /**
   * `changed` is called when the state changes. While low power is engaged the BARs do not answer
   * (PCI-8).
   */
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

  /** Leaves low power. No error when the device is not in low power. */
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
  readonly sources: EventfdSources;
}

/** Serves a feature of a PCI device. ENOTTY for a feature that a plain function does not have. */
export function pciFeature(
  request: FeatureRequest,
  arg: UserArg,
  { caller, profile, lowPower, bars, sources }: FeatureOptions & { readonly caller: Caller },
): number {
  const { feature } = request;
  if (feature > profile.lastFeature) throw enotty(`no feature ${feature}`);
  switch (feature) {
    case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY:
      if (isWanted(request, VFIO_DEVICE_FEATURE_SET, 0)) lowPower.enter(undefined);
      return 0;
    case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP:
      if (isWanted(request, VFIO_DEVICE_FEATURE_SET, ENTRY_WITH_WAKEUP_BYTES)) {
        const entry = arg.copyIn(ENTRY_WITH_WAKEUP_BYTES, DeviceFeature.size);
        lowPower.enter(new EventTrigger(sources, caller.eventfd(entry.getInt32(0, true))));
      }
      return 0;
    case VFIO_DEVICE_FEATURE_LOW_POWER_EXIT:
      if (isWanted(request, VFIO_DEVICE_FEATURE_SET, 0)) lowPower.exit();
      return 0;
    case VFIO_DEVICE_FEATURE_DMA_BUF:
      if (isWanted(request, VFIO_DEVICE_FEATURE_GET, DeviceFeatureDmaBuf.size)) getDmaBuf(arg, bars);
      return 0;
  }
  throw enotty(`no feature ${feature}`);
}
