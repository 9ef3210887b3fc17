/** The network backends of a VM: sockets that survive an update. */
import { DATAGRAM_DESCRIPTION, type DatagramDescription } from '../../devices/backends/datagram-port.ts';
import { parseNetdev } from '../../devices/backends/netdev-option.ts';
import { openWire } from '../../devices/backends/open-socket.ts';
import { defineSection, type StateOf } from '../../platform/section.ts';
import { list } from '../../platform/shape.ts';
import type { VmOptions } from './vm-state.ts';

/** In the order of the options, of those that are datagram sockets. */
export const NETDEVS_SECTION = defineSection('netdevs', 1, { sockets: list(DATAGRAM_DESCRIPTION) });

export type NetdevsState = StateOf<typeof NETDEVS_SECTION>;

/** Opens the sockets that the options name. Errors as openWire. */
export const openNetdevs = ({ netdevs = [] }: VmOptions): readonly DatagramDescription[] =>
  netdevs.map(parseNetdev).flatMap((netdev) => (netdev.type === 'dgram' ? [openWire(netdev, '-netdev')] : []));
