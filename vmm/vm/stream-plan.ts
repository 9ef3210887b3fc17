/** All byte streams of a VM: the chardevs, and behind them the wires of `-netdev stream`. */
import type { SocketEnd } from '../../devices/backends/chardev-option.ts';
import { type NetdevOption, parseNetdev } from '../../devices/backends/netdev-option.ts';
import { planSerial } from './serial-option.ts';
import type { VmOptions } from './vm-state.ts';

export interface StreamPlan extends SocketEnd {
  /** What the user's errors name. */
  readonly option: string;
}

type Lines = Pick<VmOptions, 'serial' | 'chardevs' | 'netdevs'>;

export function planStreams({ netdevs = [], ...lines }: Lines): readonly StreamPlan[] {
  const { chardevs } = planSerial(lines);
  return [
    ...chardevs.map((each) => ({ ...each, option: each.id === '' ? '-serial' : '-chardev' })),
    ...netdevs.map(parseNetdev).flatMap((each) => (each.type === 'stream' ? [{ ...each, option: '-netdev' }] : [])),
  ];
}

/** The number of the stream, or the number among the other netdevs, behind netdev number n. */
export function backendOf(
  { netdevs = [], ...lines }: Lines,
  n: number,
): { readonly type: NetdevOption['type']; readonly at: number } {
  const all = netdevs.map(parseNetdev);
  const { type } = all[n]!;
  const before = all.slice(0, n).filter((each) => each.type === type).length;
  return { type, at: type === 'stream' ? planSerial(lines).chardevs.length + before : before };
}
