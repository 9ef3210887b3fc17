/** `-fw_cfg`, as QEMU spells it (qemu-options.hx). Errors are EINVAL with one line for the user. */
import { accessSync, constants, statSync } from 'node:fs';
import { Properties } from '../../devices/backends/properties.ts';
import { einval } from '../../platform/errno.ts';
import { LONGEST_NAME, MOST_FILES } from '../machine/shared/fw-cfg.ts';
import type { FwCfgFile, FwCfgPlan } from '../machine/shared/fw-cfg-contents.ts';
import { hartsOf, type VmOptions } from './vm-state.ts';

const OPTION = '-fw_cfg';

/** Parses `[name=]NAME,file=PATH` and `[name=]NAME,string=TEXT`. */
function parse(given: string): FwCfgFile {
  const values = new Properties(OPTION, /^[^,]*=/.test(given) ? given : `name=${given}`, { typed: false });
  const name = values.need('name', 'opt/NAME');
  const [path, text] = [values.take('file'), values.take('string')];
  values.end();
  if (Buffer.byteLength(name) > LONGEST_NAME) throw values.error(`a name has at most ${LONGEST_NAME} bytes`);
  if ((path === undefined) === (text === undefined)) throw values.error('give file=PATH or string=TEXT');
  return path === undefined ? { name, text: text! } : { name, path };
}

export function parseFwCfg(given: readonly string[]): readonly FwCfgFile[] {
  const files = given.map(parse);
  if (new Set(files.map(({ name }) => name)).size < files.length) throw einval(`${OPTION}: a name is given twice`);
  if (files.length > MOST_FILES) throw einval(`${OPTION}: more than ${MOST_FILES} files`);
  return files;
}

/** The user's errors come before the guest runs. EINVAL: a file cannot be read, or is none. */
export function checkFwCfg({ fwCfg = [] }: VmOptions): void {
  for (const file of parseFwCfg(fwCfg)) {
    if (!('path' in file)) continue;
    try {
      accessSync(file.path, constants.R_OK);
    } catch (error) {
      throw einval(`${OPTION}: ${file.path}: cannot be read (${(error as NodeJS.ErrnoException).code})`);
    }
    // the guest would wait for a FIFO's writer
    if (!statSync(file.path).isFile()) throw einval(`${OPTION}: ${file.path}: not a regular file`);
  }
}

/** What the device has for a guest with or without firmware. */
export function planFwCfg(options: VmOptions, firmware: boolean): FwCfgPlan {
  const { kernel, initrd, append, fwCfg = [] } = options;
  return {
    harts: hartsOf(options),
    files: parseFwCfg(fwCfg),
    ...(firmware && kernel !== undefined ? { boot: { kernel, initrd, append } } : {}),
  };
}
