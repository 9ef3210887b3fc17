/**
 * The form of the state that each release reads: its sections and their versions. Every release
 * adds its own entry, which then never changes. An update to such a build writes the state in that
 * form (`live-update` with `as`).
 */
import { einval } from '../../platform/errno.ts';

/** Section versions by name. */
export type Form = Readonly<Record<string, number>>;

export const RELEASES: Readonly<Record<string, Form>> = {
  '0.1.0': {
    vm: 1,
    update: 1,
    ram: 1,
    vfio: 1,
    console: 1,
    routes: 1,
    imsic: 1,
    vcpu: 1,
    hart: 1,
    clint: 1,
    uart: 1,
    pci: 1,
    monitor: 1,
  },
};

/** EINVAL: no such release. */
export function formOf(release: string): Form {
  if (Object.hasOwn(RELEASES, release)) return RELEASES[release]!;
  throw einval(`no form of the state as '${release}': this build knows ${Object.keys(RELEASES).join(', ')}`);
}
