/**
 * `-serial`, as QEMU spells it (qemu-options.hx): what is at the other end of a line. Errors are
 * EINVAL with one line for the user.
 */
import { type ChardevOption, parseChardev, socketEnd } from '../../devices/backends/chardev-option.ts';
import { Properties } from '../../devices/backends/properties.ts';
import { einval } from '../../platform/errno.ts';
import type { VmOptions } from './vm-state.ts';

/** What the UART's line leads to: this terminal, nothing, or a chardev by its number. */
export type SerialOption = 'stdio' | 'null' | number;

export interface SerialPlan {
  readonly serial: SerialOption;
  /** Those of -chardev first. */
  readonly chardevs: readonly ChardevOption[];
}

/** What the UART of a VM with these options has behind it, and all chardevs. */
export function planSerial({
  serial = 'stdio',
  chardevs: given = [],
}: Pick<VmOptions, 'serial' | 'chardevs'>): SerialPlan {
  const chardevs = given.map(parseChardev);
  if (new Set(chardevs.map(({ id }) => id)).size < chardevs.length) throw einval('-chardev: an id is given twice');
  if (serial === 'stdio' || serial === 'null') return { serial, chardevs };
  const [, kind, value = ''] = /^(unix|chardev):(.*)$/.exec(serial) ?? [];
  if (kind === undefined)
    throw einval(`-serial ${serial}: there are stdio, null, unix:PATH[,server=on,wait=off], chardev:ID`);
  if (kind === 'chardev') {
    const index = chardevs.findIndex(({ id }) => id === value);
    if (index < 0) throw einval(`-serial ${serial}: there is no -chardev with id=${value}`);
    return { serial: index, chardevs };
  }
  const values = new Properties('-serial', serial, { typed: true });
  const path = values.type.slice('unix:'.length);
  if (path === '') throw values.error('give a path');
  const own = { id: '', ...socketEnd(values, path) };
  values.end();
  return { serial: chardevs.length, chardevs: [...chardevs, own] };
}
