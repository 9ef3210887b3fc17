/** docs/vfio.md: every rule of VFIO has a line, and what the line points to is there. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';

import { PROFILE_NAMES, profileOf } from '../../iommu/kernel/core/profile.ts';
import { DEVIATIONS } from '../../tools/conform/deviations.ts';
import { familyOf, rulesDefined } from './vfio-rules.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Families of rules about what others do. */
const OTHERS = ['PKF', 'RSV', 'P2P', 'NEW'];
const bindsUs = (rule: string): boolean => !OTHERS.includes(familyOf(rule));
const FAMILIES = [...new Set(rulesDefined.map(familyOf))];
const ID = new RegExp(`\\b(${FAMILIES.join('|')})-(\\d+)(?:…(\\d+))?`, 'g');

/** Ids in a text, `MAP-1…4` being four. */
function ruleIds(text: string): string[] {
  return [...text.matchAll(ID)].flatMap(([, family, first, last = first]) =>
    Array.from({ length: Number(last) - Number(first) + 1 }, (_, i) => `${family}-${Number(first) + i}`),
  );
}

interface Line {
  readonly rules: readonly string[];
  readonly code: readonly string[];
  readonly tests: readonly string[];
  /** Groups of recordings. */
  readonly recordings: readonly string[];
  readonly deviation: string;
  readonly text: string;
}

const quoted = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, path]) => path!);

const text = readFileSync(join(root, 'docs/vfio.md'), 'utf8');

/** Lines of the tables whose columns are rule, what, code, tests, deviation. */
const lines: readonly Line[] = text
  .split('\n')
  .filter((text) => /^\| [A-Z0-9]+-\d/.test(text))
  .map((text) => {
    const [, rule = '', , code = '', tests = '', deviation = ''] = text.split(/(?<!\\)\|/).map((cell) => cell.trim());
    return {
      rules: ruleIds(rule),
      code: quoted(code),
      tests: quoted(tests),
      recordings: [...tests.matchAll(/\*([a-z0-9-]+)\*/g)].map(([, group]) => group!),
      deviation,
      text,
    };
  });

const LAYERS = ['platform', 'iommu', 'devices', 'guest', 'vmm', 'tools', 'test'];

/** Every source file, from the root. */
const files: readonly string[] = LAYERS.flatMap((layer) =>
  readdirSync(join(root, layer), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => `${layer}/${name}`),
);

/**
 * The one file that docs/vfio.md means: it names a file by its last parts. '' when there is none,
 * or more than one.
 */
function fileNamed(name: string): string {
  const found = files.filter((path) => path === name || path.endsWith(`/${name}`));
  return found.length === 1 ? found[0]! : '';
}

/** Rules in the names of a test file's tests; what a comment says is no promise. */
const citedIn = (path: string): string[] =>
  ruleIds(readFileSync(join(root, fileNamed(path)), 'utf8').replace(/\/\*(?:.|\n)*?\*\/|\/\/.*/g, ''));

const byNumber = (a: string, b: string): number => a.localeCompare(b, 'en', { numeric: true });

describe('docs/vfio.md', () => {
  it('has one line for every rule', () => {
    const found = lines.flatMap(({ rules }) => rules).filter(bindsUs);
    expect(found.toSorted(byNumber)).toEqual(rulesDefined.filter(bindsUs).toSorted(byNumber));
    expect(OTHERS.filter((family) => !FAMILIES.includes(family))).toEqual([]);
  });

  it('names files that are there, by as many of their last parts as tell which is meant', () => {
    const names = [...text.matchAll(/`([\w./-]+\.ts)`/g)].map(([, name]) => name!);
    expect(names.filter((name) => !fileNamed(name))).toEqual([]);
  });

  it('explains every accepted difference', () => {
    expect(DEVIATIONS.filter(({ rule, reason }) => !(text.includes(rule) && text.includes(reason)))).toEqual([]);
  });

  it('names groups of recordings that are here', () => {
    const folder = join(root, 'test/conformance/vectors');
    const groups = readdirSync(folder).flatMap((kernel) =>
      readdirSync(join(folder, kernel)).map((name) => name.replace(/(-sample)?\.vec\.gz$/, '')),
    );
    const unknown = lines.flatMap(({ recordings }) => recordings.filter((group) => !groups.includes(group)));
    expect(unknown).toEqual([]);
  });

  it('says of every rule where it is and what tests it, or why not', () => {
    const open = lines.filter(
      ({ code, tests, recordings, deviation }) =>
        (code.length === 0 || tests.length + recordings.length === 0) && !deviation.startsWith('not applicable'),
    );
    expect(open.map(({ text }) => text)).toEqual([]);
  });

  it('points to tests each of which cites a rule of the line', () => {
    const silent = lines.flatMap(({ rules, tests, text }) =>
      tests.filter((path) => !citedIn(path).some((rule) => rules.includes(rule))).map((path) => `${path}: ${text}`),
    );
    expect(silent).toEqual([]);
  });

  it('points to tests that together cite every rule of the line', () => {
    const untested = lines
      .filter(({ tests }) => tests.length > 0)
      .flatMap(({ rules, tests }) => {
        const cited = tests.flatMap(citedIn);
        return rules.filter((rule) => !cited.includes(rule)).map((rule) => `${rule}: in none of ${tests.join(', ')}`);
      });
    expect(untested).toEqual([]);
  });
});

it('every row of the profiles is in docs/vfio.md, with its values', () => {
  const rows = PROFILE_NAMES.map((name): Readonly<Record<string, unknown>> => ({ ...profileOf(name) }));
  const wanted = Object.keys(rows[0]!)
    .filter((row) => row !== 'name')
    .map((row) => `| \`${row}\` | ${rows.map((profile) => profile[row]).join(' | ')} |`);
  expect(wanted.filter((line) => !text.includes(line))).toEqual([]);
});

it('every rule that code or a test cites has a line in docs/vfio.md', () => {
  const known = new Set(lines.flatMap(({ rules }) => rules));
  const strange = files
    .filter((path) => !path.endsWith('rules.test.ts'))
    .flatMap((path) =>
      ruleIds(readFileSync(join(root, path), 'utf8'))
        .filter((rule) => !known.has(rule))
        .map((rule) => `${rule}: ${path}`),
    );
  expect([...new Set(strange)].toSorted()).toEqual([]);
});
