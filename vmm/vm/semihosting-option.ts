/**
 * `-semihosting` and `-semihosting-config`, as QEMU spells them (qemu-options.hx). Errors are
 * EINVAL with one line for the user.
 */
import { Properties } from '../../devices/backends/properties.ts';
import type { SemihostingPlan } from '../machine/shared/semihosting.ts';
import type { VmOptions } from './vm-state.ts';

/** `-semihosting` is short for this. */
export const SEMIHOSTING_ON = 'enable=on';
const OPTION = '-semihosting-config';

/** What the guest may; undefined: nothing. */
export function planSemihosting({
  semihosting,
  kernel,
  append,
}: Pick<VmOptions, 'semihosting' | 'kernel' | 'append'>): SemihostingPlan | undefined {
  if (semihosting === undefined) return undefined;
  const values = new Properties(OPTION, semihosting, { typed: false });
  const enabled = values.isOn('enable', true);
  values.oneOf('target', ['native', 'auto'], 'auto'); // there is no gdb to ask
  const userspace = values.isOn('userspace', false);
  const words = values.takeAll('arg');
  values.end();
  if (!enabled) return undefined;
  const given = words.length > 0 ? words : [kernel ?? '', ...(append === undefined ? [] : [append])];
  return { userspace, commandLine: given.join(' ') };
}
