/** `-fsdev local,…` and `-virtfs local,…`, as QEMU spells them, and the folders behind them. */
import { constants } from 'node:fs';
import { SysError } from '../../platform/errno.ts';
import { fd } from '../../platform/fd-shape.ts';
import { openBeneath } from '../../platform/libc/beneath.ts';
import { close, O_PATH, open } from '../../platform/libc/fd.ts';
import { defineSection, type StateOf } from '../../platform/section.ts';
import { list } from '../../platform/shape.ts';
import { Properties } from './properties.ts';

export interface FsdevOption {
  readonly id: string;
  readonly path: string;
}

/** The open folders, in the order of the options. */
export const FSDEVS_SECTION = defineSection('fsdevs', 1, { folders: list(fd) });
export type FsdevsState = StateOf<typeof FSDEVS_SECTION>;

function folderOf(values: Properties): string {
  if (values.type !== 'local') throw values.error("the driver is 'local'");
  const path = values.need('path', 'FOLDER');
  values.oneOf('security_model', ['none'], 'none');
  values.oneOf('multidevs', ['forbid'], 'forbid');
  if (!values.isOn('readonly', false)) throw values.error('give readonly=on: nothing can be written');
  return path;
}

const OPTION = '-fsdev';
/** As in QEMU (MAX_TAG_LEN). */
const MOST_TAG_BYTES = 31;

/** EINVAL with one line for the user. */
export function parseFsdev(text: string): FsdevOption {
  const values = new Properties(OPTION, withReadonly(text), { typed: true });
  const id = values.need('id', 'ID');
  const path = folderOf(values);
  values.end();
  return { id, path };
}

/** The `-fsdev` and the `-device` that a `-virtfs` stands for. */
export function splitVirtfs(text: string, index: number): { readonly fsdev: string; readonly device: string } {
  const values = new Properties('-virtfs', withReadonly(text), { typed: true });
  const tag = values.need('mount_tag', 'TAG');
  const id = values.take('id') ?? `virtfs${index}`;
  const path = folderOf(values);
  values.end();
  const escaped = (value: string): string => value.replaceAll(',', ',,');
  return {
    fsdev: `local,id=${escaped(id)},path=${escaped(path)},security_model=none,readonly=on`,
    device: `virtio-9p-pci,fsdev=${escaped(id)},mount_tag=${escaped(tag)}`,
  };
}

export const isTag = (text: string): boolean => text !== '' && Buffer.byteLength(text) <= MOST_TAG_BYTES;

/** The tag of a device. */
export function mountTag(values: Properties): string {
  const tag = values.need('mount_tag', 'TAG');
  if (!isTag(tag)) throw values.error(`a tag has at most ${MOST_TAG_BYTES} bytes`);
  return tag;
}

/** `readonly` without a value. */
const withReadonly = (text: string): string => text.replace(/(^|,)readonly(?=,|$)/, '$1readonly=on');

/** Opens the folder. Errors name it in one line. ENOSYS: this Linux has no openat2(2). */
export function openFsdev(option: string): number {
  const { path } = parseFsdev(option);
  try {
    const folder = open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    close(openBeneath(folder, '.', O_PATH));
    return folder;
  } catch (error) {
    throw error instanceof SysError ? new SysError(error.code, `${OPTION}: ${path}: ${error.message}`) : error;
  }
}
