/**
 * `vmm --incoming unix:MAIN --incoming '{"channel-type": "cpr", …}'`: a VMM that waits for the
 * guest of another one, in QEMU's spelling (system/vl.c, "-incoming").
 */
import { einval } from '../../../platform/errno.ts';
import { parseJson } from '../../monitor/json.ts';
import { QmpError } from '../../monitor/qmp-error.ts';
import { parseOptions } from '../../vm/options.ts';
import type { VmOptions } from '../../vm/vm-state.ts';
import { CHANNEL, type Channels, destinationOf, parseUri, socketsOf } from './channels.ts';

export interface Incoming extends Channels {
  readonly options: VmOptions;
}

/** undefined: the command line has no -incoming. EINVAL with one line for the user. */
export function parseIncoming(args: readonly string[]): Incoming | undefined {
  const { incoming, others } = takeIncoming(args);
  if (incoming.length === 0) return undefined;
  const channels = incoming.map((text) => {
    if (text === 'defer') throw einval('-incoming defer: the guest comes by the channels; name them');
    return text.startsWith('{') ? parseChannel(text) : { 'channel-type': 'main' as const, addr: parseUri(text) };
  });
  return { ...socketsOf(destinationOf({ channels })), options: parseOptions(others) };
}

/** Takes out every -incoming, which QEMU's users write with one dash. EINVAL: one has no value. */
export function takeIncoming(words: readonly string[]): {
  readonly incoming: readonly string[];
  readonly others: readonly string[];
} {
  const at = words.findIndex((word) => /^--?incoming$/.test(word));
  if (at < 0) return { incoming: [], others: words };
  const value = words[at + 1];
  if (value === undefined) throw einval('-incoming: name the URI');
  const rest = takeIncoming(words.toSpliced(at, 2));
  return { ...rest, incoming: [value, ...rest.incoming] };
}

function parseChannel(text: string) {
  try {
    return CHANNEL.read(parseJson(Buffer.from(text)), { path: '', name: 'incoming' });
  } catch (error) {
    throw error instanceof QmpError ? einval(`-incoming ${text}: ${error.message}`) : error;
  }
}
