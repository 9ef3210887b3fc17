/** virtio-9p: a folder of the host, to be read by 9P (virtio device id 9). */
import { einval } from '../../platform/errno.ts';
import { ExportedTree } from '../backends/exported-tree.ts';
import { isTag, openFsdev } from '../backends/fsdev-option.ts';
import type { DeviceType } from '../kit/device.ts';
import type { Property } from '../kit/properties.ts';
import { addVirtioCapabilities, virtioIdentity } from '../virtio/capabilities.ts';
import { VirtioFunction, virtioBar, virtioProperties } from '../virtio/function.ts';
import { FILE_SYSTEM, fileSystem } from '../virtio/ninep.ts';
import { NinepServer } from '../virtio/ninep-server.ts';

const TAG: Property<string | undefined> = {
  default: undefined,
  defaultText: 'none',
  what: 'the tag by which a guest mounts it; it must be given',
  expected: '1 to 31 bytes',
  parse: (text) => (isTag(text) ? text : undefined),
};

const PROPERTIES = { mount_tag: TAG, ...virtioProperties(FILE_SYSTEM) };

export const device: DeviceType<typeof PROPERTIES, NinepServer> = {
  name: 'virtio-9p',
  summary: 'a folder of the host, to be read',
  identity: virtioIdentity(FILE_SYSTEM),
  bars: () => [virtioBar(FILE_SYSTEM)],
  capabilities: addVirtioCapabilities,
  msi: false,
  properties: PROPERTIES,
  backend: 'fsdev',
  defects: ['drop-interrupt'],
  open({ mount_tag: tag }, fsdev) {
    if (tag === undefined) throw einval('virtio-9p: give mount_tag=TAG');
    return { fds: [openFsdev(fsdev)] };
  },
  attach({ fds: [folder] }) {
    if (folder === undefined) throw einval('virtio-9p: no folder is open');
    return new NinepServer(new ExportedTree(folder));
  },
  detach: (server) => server.reset(),
  create(bus, { mount_tag: tag = '', msix }, server) {
    server.reset(); // what was open before a function-level reset
    return new VirtioFunction(bus, fileSystem(server, tag), msix);
  },
};
