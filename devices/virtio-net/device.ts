/** virtio-net: a network card whose wire is a UNIX socket of the host (virtio 1.3 §5.1). */
import { einval } from '../../platform/errno.ts';
import { EPOLLET, epollArm } from '../../platform/libc/epoll.ts';
import { POLLIN } from '../../platform/libc/poll.ts';
import { DatagramPort } from '../backends/datagram-port.ts';
import { FramePort } from '../backends/frame-port.ts';
import { defaultMac, macBytes, macText, parseNetdev } from '../backends/netdev-option.ts';
import { openEnd, openWire } from '../backends/open-socket.ts';
import { SocketStream } from '../backends/socket-stream.ts';
import type { DeviceType } from '../kit/device.ts';
import type { Property } from '../kit/properties.ts';
import { addVirtioCapabilities, virtioIdentity } from '../virtio/capabilities.ts';
import { VirtioFunction, virtioBar, virtioProperties } from '../virtio/function.ts';
import { NETWORK, type NetPort, network } from '../virtio/net.ts';

const MAC: Property<Uint8Array> = {
  default: defaultMac(0),
  defaultText: macText(defaultMac(0)),
  what: 'its address; further devices that are given none count on',
  expected: 'the address of a station',
  parse: macBytes,
};

const PROPERTIES = {
  mac: MAC,
  ...virtioProperties(NETWORK),
};

interface Wire {
  readonly port: NetPort;
  /** Of `-netdev stream`. */
  readonly stream?: SocketStream;
}

export const device: DeviceType<typeof PROPERTIES, Wire> = {
  name: 'virtio-net',
  summary: 'a network card whose wire is a UNIX socket',
  identity: virtioIdentity(NETWORK),
  bars: () => [virtioBar(NETWORK)],
  capabilities: addVirtioCapabilities,
  msi: false,
  properties: PROPERTIES,
  backend: 'netdev',
  defects: ['drop-interrupt'],
  open(_, backend) {
    const netdev = parseNetdev(backend);
    if (netdev.type === 'dgram') return { fds: [openWire(netdev, '-netdev').fd], paths: [netdev.local] };
    const { fd, path } = openEnd(netdev, '-netdev');
    return fd === null ? { fds: [] } : { fds: [fd], paths: [path] };
  },
  attach({ fds: [fd], backend = '', news }) {
    const netdev = parseNetdev(backend);
    if (netdev.type === 'stream') {
      const stream = new SocketStream({ ...netdev, fd: fd ?? null }, news);
      return { port: new FramePort(stream), stream };
    }
    if (fd === undefined) throw einval('virtio-net: no socket is open');
    if (news !== undefined) epollArm(news, fd, POLLIN | EPOLLET);
    return { port: new DatagramPort({ ...netdev, fd }) };
  },
  detach: ({ stream }) => stream?.hangUp(),
  create: (bus, { mac, msix }, { port, stream }) => new VirtioFunction(bus, network(port, mac), msix, stream),
};
