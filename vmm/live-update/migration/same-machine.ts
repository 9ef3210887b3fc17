/** Whether a command line describes the machine that runs: an update does not change it. */
import { resolve } from 'node:path';

import { einval } from '../../../platform/errno.ts';
import type { VmOptions } from '../../vm/vm-state.ts';

/** Options of a process and not of the machine: a fd, who guards it, a defect put into it. */
const OWN = ['lifeline', 'guardian', 'inject'];
/** Follows from `aia`, but a machine of an older build has none. */
const FOLLOWS = ['aplic'];
/** Options that are paths. */
const PATHS: readonly string[] = ['kernel', 'initrd', 'host', 'qmp'];

/** EINVAL names the first option that differs. `other` names options that may differ, too. */
export function checkSameMachine(wanted: VmOptions, is: VmOptions, other: readonly string[] = []): void {
  // who does not say which interrupt controllers leaves it to what power-on has chosen
  const ignored = [...OWN, ...FOLLOWS, ...other, ...(wanted.aia === undefined ? ['aia'] : [])];
  const [theirs, ours] = [comparable(wanted, ignored), comparable(is, ignored)];
  for (const name of new Set([...ours.keys(), ...theirs.keys()])) {
    if (ours.get(name) === theirs.get(name)) continue;
    const [there, here] = [theirs, ours].map((map) => map.get(name) || 'none');
    throw einval(`${name} ${there}, but this VMM has ${here}: an update does not change the machine`);
  }
}

function comparable(options: VmOptions, ignored: readonly string[]): ReadonlyMap<string, string> {
  const entries = Object.entries(options).filter(([name]) => !ignored.includes(name));
  return new Map(entries.map(([name, value]) => [name, PATHS.includes(name) ? resolve(String(value)) : String(value)]));
}
