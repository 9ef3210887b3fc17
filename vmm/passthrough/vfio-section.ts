/** The section vfio: open fds of a VMM's devices, and what the kernel's state under them is. */
import { einval } from '../../platform/errno.ts';
import { fd } from '../../platform/fd-shape.ts';
import { defineSection, type StateOf } from '../../platform/section.ts';
import { flag, list, nullable, object, type Shaped } from '../../platform/shape.ts';
import {
  DEVICE_DESCRIPTION,
  DEVICE_DESCRIPTION_1,
  DEVICE_DESCRIPTION_2,
  type DeviceDescription,
} from '../client/device.ts';
import { CONTAINER_STATE, CONTAINER_STATE_1, type ContainerState } from './container.ts';

const PASSED_DEVICE = object({
  description: DEVICE_DESCRIPTION,
  /**
   * They are of MSI or MSI-X, whichever the guest uses; behind them lies that of INTx, if the
   * guest's machine has wires.
   */
  msiEventfds: list(fd),
  /** The eventfd of REQ; null: an earlier version has opened the device. */
  request: nullable(fd),
  /** That of ERR; null: so, or the device has no such interrupt. */
  error: nullable(fd),
  /** The host wanted the device back and has it. Its fd is open on something else. */
  gone: flag,
});

/** Without ROM, and without REQ and ERR. */
const PASSED_DEVICE_3 = object({ description: DEVICE_DESCRIPTION_2, msiEventfds: list(fd) });

/** Without MSI-X. */
const PASSED_DEVICE_1 = object({ description: DEVICE_DESCRIPTION_1, msiEventfds: list(fd) });

export type PassedDevice = Shaped<typeof PASSED_DEVICE>;

/** The state that survives. */
export const VFIO_SECTION = defineSection('vfio', 4, {
  /** null: no devices. */
  container: nullable(CONTAINER_STATE),
  devices: list(PASSED_DEVICE),
})
  .earlier(
    3,
    { container: nullable(CONTAINER_STATE), devices: list(PASSED_DEVICE_3) },
    {
      read: ({ container, devices }) => ({ container, devices: devices.map(withNotices) }),
      write: ({ container, devices }) => ({ container, devices: devices.map(withoutNotices) }),
    },
  )
  .earlier(
    2,
    { container: nullable(CONTAINER_STATE), devices: list(PASSED_DEVICE_1) },
    {
      read: ({ container, devices }) => ({ container, devices: devices.map(withMsix).map(withNotices) }),
      write: ({ container, devices }) => ({ container, devices: devices.map(withoutNotices).map(withoutMsix) }),
    },
  )
  .earlier(
    1,
    { container: nullable(CONTAINER_STATE_1), devices: list(PASSED_DEVICE_1) },
    {
      // its BARs are no targets until the next power-on
      read: ({ container, devices }) => ({
        container: container && { ...container, peerBars: [] },
        devices: devices.map(withMsix).map(withNotices),
      }),
      write({ container, devices }) {
        if (container?.peerBars.some(({ iova }) => iova !== null)) {
          throw einval('a BAR is mapped for the DMA of another device');
        }
        const older = devices.map(withoutNotices).map(withoutMsix);
        return { container: container && withoutPeerBars(container), devices: older };
      },
    },
  );

function withoutPeerBars({ fd, groups, ranges }: ContainerState): Shaped<typeof CONTAINER_STATE_1> {
  return { fd, groups, ranges };
}

type Older = Shaped<typeof PASSED_DEVICE_3>;
type Oldest = Shaped<typeof PASSED_DEVICE_1>;

/** Its eventfds are made when the image goes on (PassthroughHost.resume). */
function withNotices({ description, msiEventfds }: Older): PassedDevice {
  const rom = { offset: 0, size: 0 }; // a guest that has not been shown it does without
  return { description: { ...description, rom }, msiEventfds, request: null, error: null, gone: false };
}

function withoutNotices({ description, msiEventfds, gone }: PassedDevice): Older {
  const { rom: _, ...known } = description;
  if (gone) throw einval(`${description.bdf} is unplugged`);
  return { description: known, msiEventfds };
}

/** A guest that has not been shown MSI-X does without it until the next power-on. */
function withMsix({ description, msiEventfds }: Oldest): Older {
  return { description: { ...description, msixVectors: 0 }, msiEventfds };
}

function withoutMsix({ description, msiEventfds }: Older): Oldest {
  const { msixVectors, ...known } = description;
  if (msixVectors > 0) throw einval(`${description.bdf} has MSI-X`);
  return { description: known, msiEventfds };
}

export const nrVectors = ({ msiVectors, msixVectors }: DeviceDescription): number => Math.max(msiVectors, msixVectors);

/** The eventfds of the vectors. */
export const vectorEventfds = ({ description, msiEventfds }: PassedDevice): readonly number[] =>
  msiEventfds.slice(0, nrVectors(description));

export const intxEventfd = ({ description, msiEventfds }: PassedDevice): number | undefined =>
  msiEventfds[nrVectors(description)];

export type VfioState = StateOf<typeof VFIO_SECTION>;

export const NO_DEVICES: VfioState = { version: 4, container: null, devices: [] };
