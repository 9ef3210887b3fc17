/**
 * `-serial` and `-chardev`, as QEMU spells them (qemu-options.hx): what is at the other end of a
 * line. Errors are EINVAL with one line for the user.
 */
import { einval } from '../../platform/errno.ts';
import { Properties } from './properties.ts';
import type { VmOptions } from './vm-state.ts';

/** A socket that listens at `path`. */
export interface ChardevOption {
  readonly id: string;
  readonly path: string;
}

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
    throw einval(`-serial ${serial}: there are stdio, null, unix:PATH,server=on,wait=off, chardev:ID`);
  if (kind === 'chardev') {
    const index = chardevs.findIndex(({ id }) => id === value);
    if (index < 0) throw einval(`-serial ${serial}: there is no -chardev with id=${value}`);
    return { serial: index, chardevs };
  }
  const values = new Properties('-serial', serial, { typed: true });
  const own = { id: '', path: values.type.slice('unix:'.length) };
  if (own.path === '') throw values.error('give a path');
  listens(values);
  return { serial: chardevs.length, chardevs: [...chardevs, own] };
}

/** Parses `socket,id=ID,path=PATH,server=on,wait=off`. */
function parseChardev(text: string): ChardevOption {
  const values = new Properties('-chardev', text, { typed: true });
  if (values.type !== 'socket') throw values.error(`'${values.type}' is not known; there is socket`);
  const chardev = { id: values.need('id', 'ID'), path: values.need('path', 'PATH') };
  listens(values);
  return chardev;
}

/** Only sockets that listen, and for which the guest does not wait, are there. */
function listens(values: Properties): void {
  if (!values.isOn('server', false)) throw values.error('give server=on');
  if (values.isOn('wait', true)) throw values.error('give wait=off');
  values.end();
}
