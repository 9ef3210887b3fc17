/** A state as its survivors take it: decoded and checked, section by section. */
import { einval } from '../../platform/errno.ts';
import { visitingFds } from '../../platform/fd-shape.ts';
import type { Versioned } from '../../platform/section.ts';
import type { Recovered } from '../crew/recovery.ts';
import { VM_SECTION, type VmOptions } from '../vm/vm-state.ts';
import type { StateFile } from './state-file.ts';
import { SURVIVORS, type Survivor, survivorsOf } from './survivors.ts';

/**
 * The sections of a state, with those that another process could recover in place of older ones.
 */
export const withRecovered = (
  sections: ReadonlyMap<string, Versioned>,
  recovered: Recovered,
): ReadonlyMap<string, Versioned> =>
  new Map([
    ...sections,
    ...survivorsOf(optionsIn(sections)).flatMap(({ section: { name }, recover }) =>
      recover ? [[name, recover(recovered, sections.get(name))] as const] : [],
    ),
  ]);

/** A survivor with the state that was checked for it. */
export interface Restorable {
  readonly survivor: Survivor;
  readonly state: Versioned;
}

export const sectionsOf = (restorables: readonly Restorable[]): Readonly<Record<string, Versioned>> =>
  Object.fromEntries(restorables.map(({ survivor, state }) => [survivor.section.name, state]));

/** The options of the VM that the sections are of. EINVAL: section vm is missing or wrong. */
export function optionsIn(sections: ReadonlyMap<string, Versioned | null>): VmOptions {
  const vm = sections.get(VM_SECTION.name);
  if (!vm) throw einval(`section ${VM_SECTION.name}: missing`);
  return visitingFds(
    (fd) => fd,
    () => VM_SECTION.decode(vm).options,
  ); // whoever takes it sees its fds
}

/**
 * Decodes and checks all sections of a state; `ahead` are those that have been decoded before, and
 * hold where the state says nothing else. EINVAL: a section is missing, is unknown, has a version
 * that this build does not know, or has another shape.
 */
export function decodeAll({ sections }: StateFile, ahead: Decoded = NOTHING): readonly Restorable[] {
  const survivors = survivorsOf(ahead.options ?? optionsIn(sections));
  const wanted = new Set(survivors.map(({ section }) => section.name));
  for (const name of sections.keys()) {
    if (!KNOWN.has(name)) throw einval(`section ${name}: this build does not know it`);
    if (!wanted.has(name)) throw einval(`section ${name}: the machine of section vm has none`);
  }
  return survivors.map((survivor) => {
    const { section } = survivor;
    const body = sections.get(section.name);
    const state = body ? section.decode(body) : ahead.states.get(section.name);
    if (!state) throw einval(`section ${section.name}: missing`);
    return { survivor, state };
  });
}

const KNOWN = new Set(SURVIVORS.map(({ section }) => section.name));

/** Sections that were decoded before the others came. */
export interface Decoded {
  readonly options: VmOptions | undefined;
  readonly states: ReadonlyMap<string, Versioned>;
}

const NOTHING: Decoded = { options: undefined, states: new Map() };
