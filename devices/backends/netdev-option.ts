/** `-netdev`, as QEMU spells it (qemu-options.hx). Errors are EINVAL with one line for the user. */
import { type SocketEnd, socketEnd } from './chardev-option.ts';
import { Properties } from './properties.ts';

/**
 * dgram: each Ethernet frame is a datagram from the socket at `local` to the one at `remote`.
 * stream: frames go through a connection, each behind its length.
 */
export type NetdevOption = { readonly id: string } & (
  | { readonly type: 'dgram'; readonly local: string; readonly remote: string }
  | ({ readonly type: 'stream' } & SocketEnd)
);

/**
 * Parses `dgram,id=ID,local.type=unix,local.path=PATH,remote.type=unix,remote.path=PATH`, and
 * `stream,id=ID,addr.type=unix,addr.path=PATH,server=on|off,reconnect=SECONDS`.
 */
export function parseNetdev(text: string): NetdevOption {
  const values = new Properties('-netdev', text, { typed: true });
  const { type } = values;
  if (type !== 'dgram' && type !== 'stream') throw values.error(`'${type}' is not known; there are dgram, stream`);
  const id = values.need('id', 'ID');
  if (type === 'stream') {
    values.oneOf('addr.type', ['unix'], 'unix');
    const path = values.need('addr.path', 'PATH');
    const end = socketEnd(values, path, 'off');
    values.end();
    return { id, type, ...end };
  }
  const [local = '', remote = ''] = ['local', 'remote'].map((end) => {
    values.oneOf(`${end}.type`, ['unix'], 'unix');
    return values.need(`${end}.path`, 'PATH');
  });
  values.end();
  return { id, type, local, remote };
}

/** The network of QEMU's addresses; the last byte counts devices. */
const FIRST_MAC = '52:54:00:12:34:56';

/** The 6 bytes of a station's address; undefined: the text is none. */
export function macBytes(text: string): Uint8Array | undefined {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text)) return undefined;
  const bytes = Uint8Array.from(text.split(':'), (byte) => Number.parseInt(byte, 16));
  return bytes[0]! & 1 ? undefined : bytes; // IEEE 802: a group's
}

/** The address as text. */
export const macText = (mac: Uint8Array): string =>
  Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join(':');

/** The address of network device n that was given none. */
export function defaultMac(n: number): Uint8Array {
  const bytes = macBytes(FIRST_MAC)!;
  bytes[5]! += n;
  return bytes;
}
