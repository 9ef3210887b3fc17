/**
 * The manifest is what a VMM tells its successor before anything stops. It names the sections that
 * the VMM would hand over and what they will need. It contains the bodies that can be saved while
 * the guest runs.
 */
import { readdirSync } from 'node:fs';

import { memfdCreate } from '../../platform/libc/memfd.ts';
import { pack, unpack } from '../../platform/msgpack.ts';
import type { Versioned } from '../../platform/section.ts';
import { integer, list, nullable, object, type Shape, type Shaped, text } from '../../platform/shape.ts';
import type { Vm } from '../vm/vm.ts';
import { SURVIVORS } from './survivors.ts';
import { writeAll } from './write-all.ts';

/** The body of a section. The successor's section checks it, not this file. */
const body: Shape<Versioned> = (value, at) => {
  integer((value as Partial<Versioned> | null)?.version, `${at}.version`);
  return value as Versioned;
};

const MANIFEST = object({
  sections: list(object({ name: text, version: integer, body: nullable(body) })),
  /** Bytes of guest RAM. */
  memory: integer,
  /** How many fds are open. The successor may inherit all of them. */
  fds: integer,
});

export type Manifest = Shaped<typeof MANIFEST>;

/** Writes the manifest of a running VM into a memfd, at offset 0. The caller owns the memfd. */
export function writeManifest(vm: Vm): number {
  const sections = SURVIVORS.map(({ section: { name, version }, saveSteady }) => {
    return { name, version, body: saveSteady ? saveSteady(vm) : null };
  });
  const manifest: Manifest = { sections, memory: vm.parts.ram.length, fds: readdirSync('/proc/self/fd').length };
  const fd = memfdCreate('livevmm-manifest');
  writeAll(fd, pack(manifest));
  return fd;
}

/** EINVAL: the bytes are no manifest. */
export const decodeManifest = (packed: Uint8Array): Manifest => MANIFEST(unpack(packed), 'manifest');
