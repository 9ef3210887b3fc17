/**
 * `-serial` and `-chardev`, as QEMU spells them (qemu-options.hx): what is at the other end of a
 * line. Errors are EINVAL with one line for the user.
 */
import { einval } from '../../platform/errno.ts';
import { Properties } from './properties.ts';
import type { VmOptions } from './vm-state.ts';

/** A UNIX socket: ours that listens at `path`, or another's there that we connect to. */
export interface SocketEnd {
  readonly path: string;
  readonly server: boolean;
  /** Of a client: 0 tries once. */
  readonly reconnectMs: number;
}

export interface ChardevOption extends SocketEnd {
  readonly id: string;
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

/** Parses `socket,id=ID,path=PATH,server=on,wait=off` and `…,server=off,reconnect=SECONDS`. */
function parseChardev(text: string): ChardevOption {
  const values = new Properties('-chardev', text, { typed: true });
  if (values.type !== 'socket') throw values.error(`'${values.type}' is not known; there is socket`);
  const chardev = { id: values.need('id', 'ID'), ...socketEnd(values, values.need('path', 'PATH')) };
  values.end();
  return chardev;
}

/**
 * Takes `server`, `wait`, and when a client that has no connection tries again: `reconnect` in s,
 * `reconnect-ms`. The guest waits for no client: `wait=off`; `wait` is what holds without it.
 */
export function socketEnd(values: Properties, path: string, wait: 'on' | 'off' = 'on'): SocketEnd {
  const server = values.isOn('server', false);
  if (server && values.isOn('wait', wait === 'on')) throw values.error('give wait=off');
  const [seconds, ms] = [values.take('reconnect'), values.take('reconnect-ms')];
  if (server && (seconds ?? ms) !== undefined) throw values.error('only a client connects again: give server=off');
  const text = ms ?? seconds ?? '0';
  if (!/^\d{1,7}$/.test(text)) throw values.error(`reconnect=${text}: give a number`);
  const reconnectMs = Number(text) * (ms === undefined ? 1000 : 1);
  return { path, server, reconnectMs };
}
