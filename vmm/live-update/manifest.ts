/**
 * What a VMM tells its successor before anything stops: the sections that it would hand over, with
 * their bodies as far as these can be had while the guest runs, and what they will need.
 */
import { readdirSync } from 'node:fs';

import { memfdCreate } from '../../platform/libc.ts';
import { pack, unpack } from '../../platform/msgpack.ts';
import type { Versioned } from '../../platform/section.ts';
import { integer, list, nullable, object, type Shape, type Shaped, text } from '../../platform/shape.ts';
import type { Vm } from '../vm/vm.ts';
import { SURVIVORS } from './survivors.ts';
import { writeAll } from './write-all.ts';

/** A body is checked by the successor's section, not here. */
const body: Shape<Versioned> = (value, at) => {
  object({ version: integer })({ version: (value as Partial<Versioned> | undefined)?.version }, at);
  return value as Versioned;
};

const MANIFEST = object({
  sections: list(object({ name: text, version: integer, body: nullable(body) })),
  /** Bytes of guest RAM. */
  memory: integer,
  /** How many fds are open, all of which the successor may inherit. */
  fds: integer,
});

export type Manifest = Shaped<typeof MANIFEST>;

/** The manifest of a VM that runs, in a memfd that is the caller's; at offset 0. */
export function writeManifest(vm: Vm): number {
  const sections = SURVIVORS.map(({ section: { name, version }, saveSteady }) => {
    return { name, version, body: saveSteady ? saveSteady(vm) : null };
  });
  const manifest: Manifest = { sections, memory: vm.parts.ram.length, fds: readdirSync('/proc/self/fd').length };
  const fd = memfdCreate('livevmm-manifest');
  writeAll(fd, pack(manifest));
  return fd;
}

/** EINVAL: no manifest. */
export const decodeManifest = (packed: Uint8Array): Manifest => MANIFEST(unpack(packed), 'manifest');
