/**
 * VFIO_DEVICE_GET_PCI_HOT_RESET_INFO and PCI_HOT_RESET (PCI-10). Functions of the root bus have no
 * slot and no secondary bus to reset, so the answer is always an errno. The order of the tests
 * decides which one.
 */
import { einval, enodev } from '../../../../platform/errno.ts';
import { hex } from '../../../../platform/hex.ts';
import { PciHotReset, PciHotResetInfo } from '../../../abi/vfio.ts';
import type { Profile } from '../../core/profile.ts';
import type { UserArg } from '../../core/user-arg.ts';

const NO_RESET = 'neither the slot nor the bus of the device can be reset';

export function getHotResetInfo(arg: UserArg): number {
  const { argsz } = arg.read(PciHotResetInfo);
  if (argsz < PciHotResetInfo.size) throw einval(`hot reset info: argsz ${argsz}`);
  throw enodev(NO_RESET);
}

export function hotReset(arg: UserArg, { hotResetCountFirst }: Profile): number {
  const { argsz, flags, count } = arg.read(PciHotReset);
  if (argsz < PciHotReset.size || flags !== 0) throw einval(`hot reset: argsz ${argsz}, flags ${hex(flags)}`);
  if (hotResetCountFirst && count === 0) throw einval('hot reset of no group');
  throw enodev(NO_RESET);
}
