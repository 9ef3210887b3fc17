/**
 * `-drive`, `-netdev` and `-device virtio-…`, as QEMU spells them (qemu-options.hx). Errors are
 * EINVAL with one line for the user.
 */
import { Backends } from '../../devices/backends/backends.ts';
import type { ChardevOption } from '../../devices/backends/chardev-option.ts';
import { type FsdevOption, mountTag, parseFsdev } from '../../devices/backends/fsdev-option.ts';
import { defaultMac, macBytes, type NetdevOption, parseNetdev } from '../../devices/backends/netdev-option.ts';
import { Properties } from '../../devices/backends/properties.ts';
import { MAX_MSIX_VECTORS } from '../../devices/kit/msix.ts';
import { CACHE_MODES, type DiskOptions } from '../../devices/virtio/disk-file.ts';
import { LOCKING_MODES } from '../../devices/virtio/image-lock.ts';
import { einval } from '../../platform/errno.ts';
import type { VirtioUnit } from '../machine/shared/virtio-devices.ts';
import { planSerial } from './serial-option.ts';
import type { VmOptions } from './vm-state.ts';

export interface DriveOption extends DiskOptions {
  readonly id: string;
}

/** A device, in the order of the command line. */
export type VirtioPlan = Omit<VirtioUnit, 'kind'> &
  (
    | { readonly kind: 'rng' }
    | { readonly kind: 'blk'; readonly drive: DriveOption }
    /** `chardev` counts those of planSerial. */
    | { readonly kind: 'serial'; readonly chardev: number }
    /** `netdev` counts the backends, `mac` has 6 bytes. */
    | { readonly kind: 'net'; readonly netdev: number; readonly mac: Uint8Array }
    /** `fsdev` counts the options. */
    | { readonly kind: '9p'; readonly fsdev: number; readonly tag: string }
  );

/** The options that virtio devices come from. */
export type VirtioOptions = Pick<VmOptions, 'virtio' | 'drives' | 'netdevs' | 'fsdevs' | 'serial' | 'chardevs'>;

/** What the words of `-device` begin with that are for this file. */
export const isVirtio = (device: string): boolean => device.startsWith('virtio-') || isConsole(device);

/** Whether a VM with these options has virtio devices, or something behind them. */
export const hasVirtio = ({ virtio, drives, netdevs }: VirtioOptions): boolean =>
  virtio !== undefined || drives !== undefined || netdevs !== undefined;

/** Whether one of them has a folder of the host behind it. */
export const hasFolders = ({ fsdevs }: VirtioOptions): boolean => fsdevs !== undefined;

/** The devices that all these options ask for. */
export function planVirtio(options: VirtioOptions): readonly VirtioPlan[] {
  const { virtio = [], drives = [], netdevs = [], fsdevs = [] } = options;
  const { serial, chardevs } = planSerial(options);
  const parsed = drives.map((text, i) => parseDrive(text, i));
  const behind: Behind = {
    drives: new Backends(
      'drive',
      parsed.map(({ drive }) => drive),
    ),
    netdevs: new Backends('netdev', netdevs.map(parseNetdev)),
    chardevs: new Backends('chardev', chardevs),
    fsdevs: new Backends('fsdev', fsdevs.map(parseFsdev)),
    macs: 0,
  };
  if (typeof serial === 'number') behind.chardevs.take(chardevs[serial]!.id);
  const plugged = parsed.filter(({ isPlugged }) => isPlugged).map(({ drive }) => behind.drives.take(drive.id)!);
  const consoles = virtio.filter(isConsole);
  const plan = virtio.filter((text) => !isConsole(text)).map((text) => parseDevice(text, consoles, behind));
  for (const text of consoles) throw einval(`-device ${text}: give -device virtio-serial-pci, one for each`);
  behind.drives.end('virtio-blk-pci');
  behind.netdevs.end('virtio-net-pci');
  behind.fsdevs.end('virtio-9p-pci');
  behind.chardevs.end('virtconsole');
  return [...plan, ...plugged.map((drive) => ({ kind: 'blk', transport: 'pci', drive }) as const)];
}

interface Behind {
  readonly drives: Backends<DriveOption>;
  readonly netdevs: Backends<NetdevOption>;
  readonly chardevs: Backends<ChardevOption>;
  readonly fsdevs: Backends<FsdevOption>;
  /** Network devices without an address of their own. */
  macs: number;
}

function parseDrive(text: string, index: number): { readonly drive: DriveOption; readonly isPlugged: boolean } {
  const values = new Properties('-drive', text, { typed: false });
  const file = values.need('file', 'PATH');
  values.oneOf('format', ['raw'], 'raw');
  const isPlugged = values.oneOf('if', ['virtio', 'none'], 'virtio') === 'virtio';
  const id = values.take('id') ?? `virtio${index}`;
  const cache = values.oneOf('cache', CACHE_MODES, 'writeback');
  const readOnly = values.isOn('readonly', false);
  const locking = values.oneOf('file.locking', LOCKING_MODES, 'auto');
  values.end();
  return { drive: { id, file, cache, readOnly, locking, shareRw: false, serial: '' }, isPlugged };
}

const KINDS = ['blk', 'net', 'rng', 'serial', '9p'] as const;
/** What is plugged into a serial device. */
const isConsole = (device: string): boolean => /^virtconsole(,|$)/.test(device);
const DEVICES = KINDS.flatMap((kind) => [`virtio-${kind}-pci`, `virtio-${kind}-device`]).join(', ');

/** A serial device takes the first of the consoles that are left. */
function parseDevice(text: string, consoles: string[], behind: Behind): VirtioPlan {
  const values = new Properties('-device', text, { typed: true });
  const [, name, suffix] = /^virtio-([a-z0-9]+)(?:-(pci|device))?$/.exec(values.type) ?? [];
  const kind = KINDS.find((each) => each === name);
  if (!kind) throw values.error(`there are ${DEVICES}`);
  const transport = suffix === 'device' ? 'mmio' : 'pci';
  const iommuPlatform = values.isOn('iommu_platform', false);
  if (transport === 'pci') values.oneOf('disable-legacy', ['on'], 'on'); // there is the modern interface only
  const vectors = transport === 'pci' ? vectorsOf(values) : undefined;
  const plan = {
    transport,
    ...(iommuPlatform ? { iommuPlatform } : {}),
    ...(vectors === undefined ? {} : { vectors }),
    ...(kind === 'serial' ? consoleOf(values, consoles, behind) : deviceOf(kind, values, behind)),
  } as const;
  values.end();
  return plan;
}

function vectorsOf(values: Properties): number | undefined {
  const text = values.take('vectors');
  if (text === undefined) return undefined;
  if (!/^\d{1,3}$/.test(text) || Number(text) > MAX_MSIX_VECTORS) {
    throw values.error(`vectors=${text}: give the number of vectors, 0 to ${MAX_MSIX_VECTORS}`);
  }
  return Number(text);
}

function deviceOf(kind: 'blk' | 'net' | 'rng' | '9p', values: Properties, behind: Behind) {
  switch (kind) {
    case 'rng':
      return { kind };
    case 'blk': {
      const drive = behind.drives.takeFor(values);
      const shareRw = values.isOn('share-rw', false);
      return { kind, drive: { ...drive, shareRw, serial: values.take('serial') ?? '' } };
    }
    case 'net': {
      const netdev = behind.netdevs.all.indexOf(behind.netdevs.takeFor(values));
      return { kind, netdev, mac: macOf(values, behind) };
    }
    case '9p': {
      const fsdev = behind.fsdevs.all.indexOf(behind.fsdevs.takeFor(values));
      return { kind, fsdev, tag: mountTag(values) };
    }
  }
}

function consoleOf(serial: Properties, consoles: string[], { chardevs }: Behind) {
  const text = consoles.shift();
  if (text === undefined) throw serial.error('give -device virtconsole,chardev=ID');
  const values = new Properties('-device', text, { typed: true });
  const chardev = chardevs.all.indexOf(chardevs.takeFor(values));
  values.end();
  return { kind: 'serial', chardev } as const;
}

function macOf(values: Properties, behind: Behind): Uint8Array {
  const text = values.take('mac');
  if (text === undefined) return defaultMac(behind.macs++);
  const mac = macBytes(text);
  if (!mac) throw values.error(`mac=${text} is no address of a station, e.g. 52:54:00:12:34:56`);
  return mac;
}
