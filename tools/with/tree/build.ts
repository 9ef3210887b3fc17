/**
 * The folder tree that stands for /dev/vfio and parts of sysfs. It is made once, from what the host
 * says of its functions and groups. DEVIATION: files do not change when the device does.
 */
import { chmodSync, mkdirSync, readdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

import type { FunctionFacts, HostInfo } from '../../../iommu/abi/control.ts';
import { VFIO_CONTAINER_PATH, VFIO_GROUP_DIR } from '../../../iommu/abi/wire.ts';
import { pciFiles } from './pci-files.ts';

const BUS = '/sys/bus/pci';
const DRIVER = `${BUS}/drivers/vfio-pci`;
const ROOT_BUS = '/sys/devices/pci0000:00';
const GROUPS = '/sys/kernel/iommu_groups';
const VFIO_CLASS = '/sys/class/vfio-dev';
const ROM = 'rom';
const MODULES = ['vfio', 'vfio_pci', 'vfio_iommu_type1'].map((name) => `/sys/module/${name}`);
/** The window that every IOMMU with flat MSIs reserves. */
const MSI_WINDOW = '0x00000000fee00000 0x00000000feefffff msi\n';

/** What anybody may read of a function's configuration space (pci_read_config). */
const PLAIN_CONFIG = 64;

export interface Machine {
  readonly functions: readonly FunctionFacts[];
  readonly info: Pick<HostInfo, 'profile' | 'groups' | 'devices' | 'units'>;
}

/** From Linux 6.1 on, each device of VFIO has a folder of its class (vfio_main.c). */
const hasVfioClass = (profile: string): boolean => Number.parseInt(profile, 10) >= 6;

/** Makes the tree in the folder `root`. `isRoot`: its reader has CAP_SYS_ADMIN. */
export function buildTree(root: string, { functions, info }: Machine, isRoot: boolean): void {
  const folder = (path: string): void => void mkdirSync(join(root, path), { recursive: true });
  const file = (path: string, content: string | Uint8Array): void => writeFileSync(join(root, path), content);
  const link = (path: string, target: string): void => symlinkSync(relative(dirname(path), target), join(root, path));

  for (const path of [`${BUS}/devices`, DRIVER, ROOT_BUS, GROUPS, ...MODULES, VFIO_GROUP_DIR]) folder(path);
  link(`${DRIVER}/module`, '/sys/module/vfio_pci');
  file(VFIO_CONTAINER_PATH, '');
  for (const { group } of info.groups) {
    file(`${VFIO_GROUP_DIR}${group}`, '');
    const unit = info.devices.find((device) => device.group === group)?.unit ?? undefined;
    folder(`${GROUPS}/${group}/devices`);
    file(`${GROUPS}/${group}/type`, 'DMA\n');
    const hasWindow = unit !== undefined && info.units[unit]?.msi === 'flat';
    file(`${GROUPS}/${group}/reserved_regions`, hasWindow ? MSI_WINDOW : '');
  }
  for (const [index, facts] of functions.entries()) {
    const { bdf, group } = facts;
    const device = `${ROOT_BUS}/${bdf}`;
    const readable = { ...facts, config: isRoot ? facts.config : facts.config.subarray(0, PLAIN_CONFIG) };
    folder(device);
    for (const [name, content] of Object.entries(pciFiles(readable))) file(`${device}/${name}`, content);
    if (facts.rom) {
      file(`${device}/${ROM}`, ''); // what open(2) gives of it is another file (supervisor/rom-files.ts)
      truncateSync(join(root, device, ROM), facts.rom.size);
    }
    if (hasVfioClass(info.profile)) {
      const vfio = `${device}/vfio-dev/vfio${index}`;
      for (const path of [VFIO_CLASS, vfio]) folder(path);
      file(`${vfio}/uevent`, ''); // without CONFIG_VFIO_DEVICE_CDEV it has no node
      link(`${vfio}/device`, device);
      link(`${vfio}/subsystem`, VFIO_CLASS);
      link(`${VFIO_CLASS}/vfio${index}`, vfio);
    }
    link(`${device}/subsystem`, BUS);
    link(`${device}/driver`, DRIVER);
    link(`${device}/iommu_group`, `${GROUPS}/${group}`);
    link(`${BUS}/devices/${bdf}`, device);
    link(`${DRIVER}/${bdf}`, device);
    link(`${GROUPS}/${group}/devices/${bdf}`, device);
  }
  openToAll(root);
}

/** Folders and files have the modes that Linux shows, whatever the user's umask is. */
function openToAll(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isSymbolicLink()) continue;
    chmodSync(path, entry.isDirectory() ? 0o755 : entry.name === ROM ? 0o600 : 0o444);
    if (entry.isDirectory()) openToAll(path);
  }
}
