/**
 * `-icount shift=N,sleep=on`, as QEMU spells it (qemu-options.hx). Errors are EINVAL with one line
 * for the user.
 */
import { Properties } from '../../devices/backends/properties.ts';
import type { IcountPlan } from '../machine/shared/icount.ts';
import type { VmOptions } from './vm-state.ts';

const OPTION = '-icount';
/** QEMU's limit: an instruction takes 1 to 1024 ns. */
const MOST_SHIFT = 10;

/** Undefined: guest time follows real time. */
export function planIcount({ icount }: { readonly icount?: VmOptions['icount'] | undefined }): IcountPlan | undefined {
  if (icount === undefined) return undefined;
  // the word `shift=` can be left out
  const values = new Properties(OPTION, icount.replace(/^(?=[^=,]+(,|$))/, 'shift='), { typed: false });
  const shift = values.need('shift', `N, 0 to ${MOST_SHIFT}: an instruction takes 2^N ns`);
  if (shift === 'auto')
    throw values.error('shift=auto would follow the speed of this machine: no run would be as another');
  if (!/^\d{1,2}$/.test(shift) || Number(shift) > MOST_SHIFT) {
    throw values.error(`give shift=N, 0 to ${MOST_SHIFT}: an instruction takes 2^N ns`);
  }
  const sleep = values.isOn('sleep', true);
  values.choice('align', ['off']);
  values.end();
  return { shift: Number(shift), sleep };
}
