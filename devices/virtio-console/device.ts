/** virtio-console: a serial line to a UNIX socket of the host (virtio 1.3 §5.3). */
import { parseChardev } from '../backends/chardev-option.ts';
import { openEnd } from '../backends/open-socket.ts';
import { SocketStream } from '../backends/socket-stream.ts';
import type { DeviceType } from '../kit/device.ts';
import { addVirtioCapabilities, virtioIdentity } from '../virtio/capabilities.ts';
import { CONSOLE, serialConsole } from '../virtio/console.ts';
import { VirtioFunction, virtioBar, virtioProperties } from '../virtio/function.ts';

const PROPERTIES = virtioProperties(CONSOLE);

export const device: DeviceType<typeof PROPERTIES, SocketStream> = {
  name: 'virtio-console',
  summary: 'a serial line to a UNIX socket',
  identity: virtioIdentity(CONSOLE),
  bars: () => [virtioBar(CONSOLE)],
  capabilities: addVirtioCapabilities,
  msi: false,
  properties: PROPERTIES,
  backend: 'chardev',
  defects: ['drop-interrupt'],
  open(_, backend) {
    const { fd, path } = openEnd(parseChardev(backend), '-chardev');
    return fd === null ? { fds: [] } : { fds: [fd], paths: [path] };
  },
  attach: ({ fds: [fd], backend = '', news }) => new SocketStream({ ...parseChardev(backend), fd: fd ?? null }, news),
  detach: (stream) => stream.hangUp(),
  create: (bus, { msix }, stream) => new VirtioFunction(bus, serialConsole(stream), msix, stream),
};
