/**
 * `-chardev`, as QEMU spells it (qemu-options.hx). Errors are EINVAL with one line for the user.
 */
import { Properties } from './properties.ts';

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

/** Parses `socket,id=ID,path=PATH,server=on,wait=off` and `…,server=off,reconnect=SECONDS`. */
export function parseChardev(text: string): ChardevOption {
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
