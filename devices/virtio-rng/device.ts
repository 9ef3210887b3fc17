/** virtio-rng: random bytes for drivers that ask for them (virtio 1.3 §5.4). */
import type { DeviceType } from '../kit/device.ts';
import { addVirtioCapabilities, virtioIdentity } from '../virtio/capabilities.ts';
import { VirtioFunction, virtioBar, virtioProperties } from '../virtio/function.ts';
import { ENTROPY, entropy } from '../virtio/rng.ts';

const PROPERTIES = virtioProperties(ENTROPY);

export const device: DeviceType<typeof PROPERTIES> = {
  name: 'virtio-rng',
  summary: 'random bytes by a virtqueue',
  identity: virtioIdentity(ENTROPY),
  bars: () => [virtioBar(ENTROPY)],
  capabilities: addVirtioCapabilities,
  msi: false,
  properties: PROPERTIES,
  defects: ['drop-interrupt'],
  create: (bus, { msix }) => new VirtioFunction(bus, entropy(), msix),
};
