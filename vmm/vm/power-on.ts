/** Builds a VM from its command line. The user's errors are SysErrors with one line. */
import { openFsdev } from '../../devices/backends/fsdev-option.ts';
import { einval } from '../../platform/errno.ts';
import { createMemory, type Mapping } from '../../platform/memory.ts';
import { VfioDevice } from '../client/device.ts';
import { KernelClient } from '../client/kernel-client.ts';
import { createPersistent } from '../client/pkernfs.ts';
import type { InitialState } from '../crew/vcpu/protocol.ts';
import type { InterruptRoutes } from '../machine/shared/interrupt-routes.ts';
import { RAM_BASE } from '../machine/shared/memory-map.ts';
import { type PassthroughState, probeFunction } from '../machine/shared/passthrough.ts';
import { PassthroughHost } from '../passthrough/passthrough-host.ts';
import { persistentFiles } from '../passthrough/persistent-files.ts';
import { vectorEventfds } from '../passthrough/vfio-section.ts';
import { assemble } from './assemble.ts';
import { openDisks } from './disks.ts';
import { checkFwCfg } from './fw-cfg-option.ts';
import { type GuestImage, readGuest } from './guest-image.ts';
import { mapRam } from './guest-ram.ts';
import { openListeners } from './listeners.ts';
import { openNetdevs } from './netdevs.ts';
import { openRecording } from './rrfile.ts';
import { planVirtio } from './virtio-options.ts';
import type { Vm } from './vm.ts';
import { hartsOf, isWired, type VmOptions } from './vm-state.ts';

/** A VM that is about to be powered on. No thread is there to run it. */
export interface Built {
  readonly vm: Vm;
  readonly state: InitialState;
  /** What RAM is filled with; undefined once it is. */
  image: GuestImage | undefined;
}

export function buildVm(wanted: VmOptions): Built {
  const image = readGuest(wanted);
  const { entry, next, aia } = image;
  const options = aia === 'aplic-imsic' ? wanted : { ...wanted, aia };
  if (!isWired(options) && planVirtio(options).some(({ transport }) => transport === 'mmio')) {
    throw einval('virtio devices on MMIO interrupt by wire: give -machine virt,aia=none, or aia=aplic-imsic');
  }
  if (options.fwCfg && !isWired(options)) throw einval('-fw_cfg: give -machine virt,aia=none, or aia=aplic-imsic');
  checkFwCfg(options);
  const fd = ramOf(options);
  const mapping = mapRam(fd, options.memory, hartsOf(options));
  const opened = {
    disks: openDisks(options),
    netdevs: openNetdevs(options),
    folders: (options.fsdevs ?? []).map(openFsdev),
    listeners: openListeners(options),
  };
  const backends = { ...opened, recording: openRecording(options, image, opened) };
  const host = openHost(options, mapping);
  const state = { options, entry, generation: 0, paused: false, ...(next === undefined ? {} : { next }) };
  const vm = assemble({ state, ram: { fd, mapping }, backends, host });
  return { vm, state: { pci: { version: 3, functions: host ? probeDevices(host, vm.routes) : [] } }, image };
}

/** Memory for a guest that is powered on; a file of pkernfs outlives the host's kernel. */
function ramOf({ host, memory, pkernfs }: VmOptions): number {
  if (host === undefined || pkernfs === undefined) return createMemory('guest-ram', memory);
  const client = new KernelClient(host);
  try {
    return createPersistent(client, persistentFiles(pkernfs).ram, memory);
  } finally {
    client.disconnect();
  }
}

function openHost(options: VmOptions, ram: Mapping): PassthroughHost | undefined {
  const { host, devices, memory, pkernfs, persist, peerBars } = options;
  if (host === undefined || devices.length === 0) return undefined;
  const range = { iova: RAM_BASE, offset: 0, size: memory, vaddr: ram.vaddr };
  const guest = pkernfs === undefined ? undefined : { name: pkernfs, withEntries: persist === 'container' };
  const wired = isWired(options);
  return PassthroughHost.open(host, devices, range, { guest, peerBars: peerBars ?? 'memory', wired });
}

/**
 * Reads what each device shows of itself, and adds a route for each vector that the device can
 * send.
 */
function probeDevices({ client, devices }: PassthroughHost, routes: InterruptRoutes): PassthroughState[] {
  return devices.map((device, i) =>
    probeFunction(new VfioDevice(device.description, client), {
      bdf: device.description.bdf,
      configSize: device.description.config.size,
      barSizes: device.description.bars.map(({ size }) => size),
      romSize: device.description.rom.size,
      routes: vectorEventfds(device).map((eventfd) => routes.add({ eventfd, slot: i + 1, identity: 0, delivered: 0 })),
    }),
  );
}
