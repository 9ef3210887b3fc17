/** Two saved states, section by section and field by field. */
import { jsonOf, leafText, sameLeaf } from './fields.ts';
import { contentOf, type SectionView, type StateView } from './view.ts';

export interface FieldChange {
  readonly path: string;
  /** Absent: the field is only in the second state. */
  readonly before?: { readonly value: unknown };
  /** Absent: the field is only in the first state. */
  readonly after?: { readonly value: unknown };
}

export interface SectionChange {
  readonly name: string;
  readonly change: 'added' | 'removed' | 'changed';
  /** The versions in the states that have the section. */
  readonly before?: number;
  readonly after?: number;
  /** Of a section that both states have. */
  readonly fields: readonly FieldChange[];
}

/**
 * What is different in the second state, in the order of the first one; what was added comes last.
 * The time of the execve is no part of a state.
 */
export function diffStates(a: StateView, b: StateView): readonly SectionChange[] {
  const [before, after] = [byName(a), byName(b)];
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].flatMap((name) => diffSection(name, before.get(name), after.get(name)));
}

const byName = ({ sections }: StateView): ReadonlyMap<string, SectionView> =>
  new Map(sections.map((section) => [section.name, section]));

function diffSection(name: string, a: SectionView | undefined, b: SectionView | undefined): readonly SectionChange[] {
  if (!a) return b ? [{ name, change: 'added', after: b.version, fields: [] }] : [];
  if (!b) return [{ name, change: 'removed', before: a.version, fields: [] }];
  const fields = diffFields(a, b);
  if (fields.length === 0 && a.version === b.version) return [];
  return [{ name, change: 'changed', before: a.version, after: b.version, fields }];
}

function diffFields(a: SectionView, b: SectionView): readonly FieldChange[] {
  const [before, after] = [contentOf(a), contentOf(b)];
  const paths = new Set([...before.keys(), ...after.keys()]);
  return [...paths].flatMap((path): readonly FieldChange[] => {
    if (before.has(path) && after.has(path) && sameLeaf(before.get(path), after.get(path))) return [];
    return [
      {
        path,
        ...(before.has(path) ? { before: { value: before.get(path) } } : {}),
        ...(after.has(path) ? { after: { value: after.get(path) } } : {}),
      },
    ];
  });
}

export const describeDiff = (changes: readonly SectionChange[]): string => changes.map(describeChange).join('');

function describeChange({ name, change, before, after, fields }: SectionChange): string {
  if (change === 'added') return `+ section ${name}: version ${after}\n`;
  if (change === 'removed') return `- section ${name}: version ${before}\n`;
  const versions = before === after ? `version ${after}` : `version ${before} → ${after}`;
  return `section ${name}: ${versions}\n${fields.map(describeField).join('')}`;
}

function describeField({ path, before, after }: FieldChange): string {
  if (!before) return `  + ${path}: ${leafText(after?.value)}\n`;
  if (!after) return `  - ${path}: ${leafText(before.value)}\n`;
  return `  ${path}: ${leafText(before.value)} → ${leafText(after.value)}\n`;
}

/** For --json. */
export const diffJson = (changes: readonly SectionChange[]): unknown => ({
  same: changes.length === 0,
  sections: changes.map(({ fields, ...section }) => ({
    ...section,
    fields: fields.map(({ path, before, after }) => ({
      path,
      ...(before ? { before: jsonOf(before.value) } : {}),
      ...(after ? { after: jsonOf(after.value) } : {}),
    })),
  })),
});
