/** virtio-blk: a disk that is a file of the host (virtio 1.3 §5.2). */
import { fstatSync } from 'node:fs';
import { einval } from '../../platform/errno.ts';
import type { DeviceType } from '../kit/device.ts';
import { choice, name, onOff, type PropertyValues, path } from '../kit/properties.ts';
import { BLOCK, block, blockFeatures } from '../virtio/blk.ts';
import { addVirtioCapabilities, virtioIdentity } from '../virtio/capabilities.ts';
import { CACHE_MODES, DiskFile, isWriteback, openDisk } from '../virtio/disk-file.ts';
import { VirtioFunction, virtioBar, virtioProperties } from '../virtio/function.ts';
import { LOCKING_MODES } from '../virtio/image-lock.ts';

const PROPERTIES = {
  drive: path('the file, raw; it must be given'),
  readonly: onOff(false, 'the driver may not write'),
  cache: choice('writeback', CACHE_MODES, "when data are safe: by the driver's flush, with each write, or never"),
  locking: choice('auto', LOCKING_MODES, 'whether the file is locked against others, as QEMU does it'),
  'share-rw': onOff(false, 'others may write the file meanwhile'),
  serial: name('serial number, of which the driver sees 20 bytes'),
  ...virtioProperties(BLOCK),
};

type Values = PropertyValues<typeof PROPERTIES>;

const diskOptions = ({ readonly: readOnly, cache, serial = '' }: Values) => ({ readOnly, cache, serial });
const imageUse = ({ readonly: readOnly, locking, 'share-rw': shareRw }: Values) => ({ readOnly, locking, shareRw });

export const device: DeviceType<typeof PROPERTIES, DiskFile> = {
  name: 'virtio-blk',
  summary: 'a disk that is a file',
  identity: virtioIdentity(BLOCK),
  bars({ readonly: readOnly, cache }) {
    return [virtioBar({ ...BLOCK, features: blockFeatures({ readOnly, writeback: isWriteback(cache) }) })];
  },
  capabilities: addVirtioCapabilities,
  msi: false,
  properties: PROPERTIES,
  defects: ['drop-interrupt'],
  open(values) {
    const { drive: file } = values;
    if (file === undefined) throw einval('virtio-blk: give drive=FILE');
    return { fds: [openDisk({ file, ...diskOptions(values), ...imageUse(values) }, 'virtio-blk: drive').fd] };
  },
  attach({ fds: [fd] }, values) {
    if (fd === undefined) throw einval('virtio-blk: no file is open');
    return new DiskFile({ fd, size: fstatSync(fd).size, ...diskOptions(values) });
  },
  create: (bus, { msix }, disk) => new VirtioFunction(bus, block(disk), msix),
};
