/** Where a migration goes: QEMU's `uri` and `channels`. Errors are in QEMU's words. */
import { einval } from '../../../platform/errno.ts';
import { arrayOf, enumOf, object, type Qapi, size, str, union } from '../../monitor/qapi.ts';

/**
 * Of QEMU's MigrationAddress, those that a VMM here can use. `offset` is where the state begins in
 * the file.
 */
export const ADDRESS = union('transport', {
  socket: union('type', { unix: object({ path: str }) }),
  file: object({ filename: str, offset: size }),
});

export const CHANNEL = object({ 'channel-type': enumOf('main', 'cpr'), addr: ADDRESS });
export const CHANNELS = arrayOf(CHANNEL);

export type Address = Qapi<typeof ADDRESS>;

export interface Destination {
  readonly main: Address;
  readonly cpr?: Address;
}

interface Given {
  readonly uri?: string;
  readonly channels?: Qapi<typeof CHANNELS>;
}

/** The channels of a `migrate` command. EINVAL: none, both, or two of a kind. */
export function destinationOf({ uri, channels = [] }: Given): Destination {
  if ((uri === undefined) === (channels.length === 0)) throw einval("need either 'uri' or 'channels' argument");
  if (uri !== undefined) return { main: parseUri(uri) };
  const only = (type: 'main' | 'cpr'): Address | undefined => {
    const [first, more] = channels.filter((channel) => channel['channel-type'] === type);
    if (more) throw einval(`Channel list has more than one ${type} entry`);
    return first?.addr;
  };
  const [main, cpr] = [only('main'), only('cpr')];
  if (!main) throw einval("missing 'main' migration channel");
  return { main, ...(cpr ? { cpr } : {}) };
}

/** `file:PATH[,offset=N]` or `unix:PATH`. EINVAL: another one. */
export function parseUri(uri: string): Address {
  const [, scheme, rest = ''] = /^(file|unix):(.*)$/s.exec(uri) ?? [];
  if (scheme === 'unix') return { transport: 'socket', type: 'unix', path: rest };
  if (scheme !== 'file') throw einval(`unknown migration protocol: ${uri}`);
  const [, filename = rest, offset = '0'] = /^(.*),offset=(\d+)$/s.exec(rest) ?? [];
  return { transport: 'file', filename, offset: Number(offset) };
}

/** The address as one would write it. */
export const formatAddress = (address: Address): string =>
  address.transport === 'file' ? `file:${address.filename}` : `unix:${address.path}`;

/** Paths of the two sockets of cpr-transfer: words go over the main one, fds over the other. */
export interface Channels {
  readonly main: string;
  readonly cpr: string;
}

/** EINVAL: there is no cpr channel, or one is no UNIX socket. */
export function socketsOf({ main, cpr }: Destination): Channels {
  if (!cpr) throw einval("missing 'cpr' migration channel");
  for (const address of [main, cpr]) {
    if (address.transport !== 'socket')
      throw einval(`cpr-transfer mode: give unix:PATH, not ${formatAddress(address)}`);
  }
  return { main: (main as UnixAddress).path, cpr: (cpr as UnixAddress).path };
}

type UnixAddress = Extract<Address, { readonly transport: 'socket' }>;
