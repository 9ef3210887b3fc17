/** `-machine virt,aia=none,iommu-sys=on` and the like, as QEMU spells it. */
import { Properties } from '../../devices/backends/properties.ts';
import { AIA_KINDS } from '../machine/shared/wired-devices.ts';
import type { VmOptions } from './vm-state.ts';

/** EINVAL with one line for the user. `iommu` is another word for `iommu-sys`. */
export function parseMachine(text: string | undefined): Pick<VmOptions, 'aia' | 'aplic' | 'iommuSys'> {
  if (text === undefined) return {};
  const values = new Properties('-machine', text, { typed: true });
  if (values.type !== 'virt') throw values.error("the machine is 'virt'");
  const aia = values.choice('aia', AIA_KINDS);
  const isOn = values.isOn('iommu', false);
  const iommu = values.isOn('iommu-sys', isOn);
  values.end();
  const aplic = aia === 'aplic-imsic';
  return { ...(aia ? { aia } : {}), ...(aplic ? { aplic: 'on' } : {}), ...(iommu ? { iommuSys: 'on' } : {}) };
}
