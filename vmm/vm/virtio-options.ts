/**
 * `-drive` and `-device virtio-…`, as QEMU spells them (qemu-options.hx). Errors are EINVAL with
 * one line for the user.
 */
import { einval } from '../../platform/errno.ts';
import { CACHE_MODES, type CacheMode } from '../machine/shared/disk-file.ts';
import type { VirtioTransport } from '../machine/shared/virtio-devices.ts';

export interface DriveOption {
  readonly id: string;
  readonly file: string;
  readonly cache: CacheMode;
  readonly readOnly: boolean;
  readonly serial: string;
}

/** A device, in the order of the command line. */
export type VirtioPlan =
  | { readonly kind: 'rng'; readonly transport: VirtioTransport }
  | { readonly kind: 'blk'; readonly transport: VirtioTransport; readonly drive: DriveOption };

/** What the words of `-device` begin with that are for this file. */
export const isVirtio = (device: string): boolean => device.startsWith('virtio-');

/** The devices that all `-device virtio-…` and `-drive` options ask for. */
export function planVirtio(devices: readonly string[], drives: readonly string[]): readonly VirtioPlan[] {
  const parsed = drives.map((text, i) => parseDrive(text, i));
  const byId = new Map(parsed.map((each) => [each.drive.id, each.drive]));
  if (byId.size < parsed.length) throw einval('-drive: an id is given twice');
  const unused = new Set(parsed.filter(({ isPlugged }) => !isPlugged).map(({ drive }) => drive.id));
  const plan = devices.map((text) => parseDevice(text, byId, unused));
  for (const id of unused) throw einval(`-drive: no device uses '${id}'; give -device virtio-blk-pci,drive=${id}`);
  const plugged = parsed.filter(({ isPlugged }) => isPlugged);
  return [...plan, ...plugged.map(({ drive }) => ({ kind: 'blk', transport: 'pci', drive }) as const)];
}

function parseDrive(text: string, index: number): { readonly drive: DriveOption; readonly isPlugged: boolean } {
  const values = properties('-drive', text);
  const take = (name: string): string | undefined => {
    const value = values.get(name);
    values.delete(name);
    return value;
  };
  const file = take('file');
  if (!file) throw einval(`-drive ${text}: give file=PATH`);
  const format = take('format') ?? 'raw';
  if (format !== 'raw') throw einval(`-drive ${text}: format=${format} is not known; there is raw`);
  const plug = take('if') ?? 'virtio';
  if (plug !== 'virtio' && plug !== 'none')
    throw einval(`-drive ${text}: if=${plug} is not known; there are virtio, none`);
  const id = take('id') ?? `virtio${index}`;
  const cache = oneOf(`-drive ${text}: cache`, take('cache') ?? 'writeback', CACHE_MODES);
  const readOnly = onOff(`-drive ${text}: readonly`, take('readonly') ?? 'off');
  refuseRest('-drive', text, values);
  return { drive: { id, file, cache, readOnly, serial: '' }, isPlugged: plug === 'virtio' };
}

function parseDevice(text: string, drives: ReadonlyMap<string, DriveOption>, unused: Set<string>): VirtioPlan {
  const [type = '', ...rest] = text.split(',');
  const match = /^virtio-(blk|rng)(?:-(pci|device))?$/.exec(type);
  if (!match)
    throw einval(`-device ${text}: there are virtio-blk-pci, virtio-blk-device, virtio-rng-pci, virtio-rng-device`);
  const transport = match[2] === 'device' ? 'mmio' : 'pci';
  const values = properties('-device', rest.join(','));
  if (match[1] === 'rng') {
    refuseRest('-device', text, values);
    return { kind: 'rng', transport };
  }
  const id = values.get('drive');
  const drive = drives.get(id ?? '');
  if (!drive)
    throw einval(`-device ${text}: ${id === undefined ? 'give drive=ID' : `there is no -drive with id=${id}`}`);
  if (!unused.delete(drive.id)) throw einval(`-device ${text}: the drive has a device already`);
  const serial = values.get('serial') ?? '';
  values.delete('drive');
  values.delete('serial');
  refuseRest('-device', text, values);
  return { kind: 'blk', transport, drive: { ...drive, serial } };
}

/** `a=b,c=d`. A comma in a value is doubled, as in QEMU. */
function properties(option: string, text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const part of text.split(/,(?!,)(?<!,,)/)) {
    if (part === '') continue;
    const at = part.indexOf('=');
    if (at < 0) throw einval(`${option} ${text}: '${part}' has no value`);
    values.set(part.slice(0, at), part.slice(at + 1).replaceAll(',,', ','));
  }
  return values;
}

function refuseRest(option: string, text: string, values: ReadonlyMap<string, string>): void {
  for (const name of values.keys()) throw einval(`${option} ${text}: '${name}' is not known`);
}

function oneOf<T extends string>(what: string, text: string, choices: readonly T[]): T {
  const choice = choices.find((each) => each === text);
  if (choice === undefined) throw einval(`${what}=${text} is not known; there are ${choices.join(', ')}`);
  return choice;
}

const onOff = (what: string, text: string): boolean => oneOf(what, text, ['on', 'off'] as const) === 'on';
