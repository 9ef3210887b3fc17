/** `-netdev`, as QEMU spells it (qemu-options.hx). Errors are EINVAL with one line for the user. */
import { Properties } from './properties.ts';

/** Each Ethernet frame is a datagram from the socket at `local` to the one at `remote`. */
export interface NetdevOption {
  readonly id: string;
  readonly local: string;
  readonly remote: string;
}

/** Parses `dgram,id=ID,local.type=unix,local.path=PATH,remote.type=unix,remote.path=PATH`. */
export function parseNetdev(text: string): NetdevOption {
  const values = new Properties('-netdev', text, { typed: true });
  if (values.type !== 'dgram') throw values.error(`'${values.type}' is not known; there is dgram`);
  const id = values.need('id', 'ID');
  const [local = '', remote = ''] = ['local', 'remote'].map((end) => {
    values.oneOf(`${end}.type`, ['unix'], 'unix');
    return values.need(`${end}.path`, 'PATH');
  });
  values.end();
  return { id, local, remote };
}

/** The network of QEMU's addresses; the last byte counts devices. */
const FIRST_MAC = '52:54:00:12:34:56';

/** The 6 bytes of a station's address; undefined: the text is none. */
export function macBytes(text: string): Uint8Array | undefined {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text)) return undefined;
  const bytes = Uint8Array.from(text.split(':'), (byte) => Number.parseInt(byte, 16));
  return bytes[0]! & 1 ? undefined : bytes; // IEEE 802: a group's
}

/** The address of network device n that was given none. */
export function defaultMac(n: number): Uint8Array {
  const bytes = macBytes(FIRST_MAC)!;
  bytes[5]! += n;
  return bytes;
}
