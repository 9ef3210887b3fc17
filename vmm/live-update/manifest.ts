/**
 * The manifest is what a VMM tells its successor before anything stops. It names the sections that
 * the VMM would hand over and what they will need. It contains the bodies that can be saved while
 * the guest runs.
 */
import { readdirSync } from 'node:fs';

import { einval } from '../../platform/errno.ts';
import { memfdCreate } from '../../platform/libc/memfd.ts';
import { pack, unpack } from '../../platform/msgpack.ts';
import type { Section, Versioned } from '../../platform/section.ts';
import { integer, list, nullable, object, type Shape, type Shaped, text } from '../../platform/shape.ts';
import { writeAll } from '../../platform/whole-file.ts';
import type { Vm } from '../vm/vm.ts';
import type { Form } from './releases.ts';
import { STATE_FORM } from './state-file.ts';
import { survivorsOf, versionIn } from './survivors.ts';

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
  /** What the file of the state begins with. */
  file: object({ magic: text, format: integer }),
});

export type Manifest = Shaped<typeof MANIFEST>;

/** A section as it would be handed over. */
export interface Offer {
  readonly name: string;
  readonly version: number;
  /** null: it can only be saved at rest. */
  readonly body: Versioned | null;
  /** It is not of the version that this build writes by itself. */
  readonly converted: boolean;
  /**
   * Why it cannot be written in the form that was asked for. It is then as this build writes it.
   */
  readonly refusal?: string;
}

/** All sections of a running VM, in the form of the successor. */
export const offerSections = (vm: Vm, form: Form): readonly Offer[] =>
  survivorsOf(vm.parts.options).map(({ section, saveSteady }) => offer(section, form, saveSteady?.(vm) ?? null));

function offer(section: Section<Versioned>, form: Form, state: Versioned | null): Offer {
  const { name } = section;
  const version = versionIn(form, section);
  try {
    if (!section.writes(version)) throw einval(`section ${name}: this build does not write version ${version}`);
    const body = state && section.encode(state, version);
    return { name, version, body, converted: version !== section.version };
  } catch (error) {
    const refusal = (error as Error).message;
    return { name, version: section.version, body: state, converted: false, refusal };
  }
}

/** Writes the manifest of a running VM into a memfd, at offset 0. The caller owns the memfd. */
export function writeManifest(vm: Vm, offers: readonly Offer[]): number {
  const sections = offers.map(({ name, version, body }) => ({ name, version, body }));
  const manifest: Manifest = {
    sections,
    memory: vm.parts.ram.length,
    fds: readdirSync('/proc/self/fd').length,
    file: STATE_FORM,
  };
  const fd = memfdCreate('livevmm-manifest');
  writeAll(fd, pack(manifest));
  return fd;
}

/** EINVAL: the bytes are no manifest. */
export const decodeManifest = (packed: Uint8Array): Manifest => MANIFEST(unpack(packed), 'manifest');
