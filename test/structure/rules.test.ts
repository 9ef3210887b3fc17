/** docs/vfio.md: every rule of VFIO has a line, and what the line points to is there. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';

import { PROFILE_NAMES, profileOf } from '../../iommu/kernel/profile.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Families of rules and how many each has: §1–13 and §18 of the specification. */
const FAMILIES: Readonly<Record<string, number>> = {
  ...{ NUM: 10, CORE: 13, PCI: 11, ST: 3, MAP: 16, ACC: 8, IOM: 4, UNM: 16 },
  ...{ VAD: 17, ATT: 11, DRT: 7, MDV: 6, CPR: 5, RACE: 38 },
};
/** Cited, but of parts of the specification that are about something else. */
const OTHERS = ['PKF', 'RSV', 'P2P', 'NEW'];
const ID = new RegExp(`\\b(${[...Object.keys(FAMILIES), ...OTHERS].join('|')})-(\\d+)(?:…(\\d+))?`, 'g');

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

/** As docs/vfio.md says: from the root, or from where most of them are. */
const codePath = (path: string): string =>
  [path, `iommu/kernel/vfio/${path}`].find((at) => existsSync(join(root, at))) ?? '';
const testPath = (path: string): string =>
  [path, `test/iommu/kernel/${path}`].find((at) => existsSync(join(root, at))) ?? '';

/** Rules in the names of a test file's tests; what a comment says is no promise. */
const citedIn = (path: string): string[] =>
  ruleIds(readFileSync(join(root, testPath(path)), 'utf8').replace(/\/\*(?:.|\n)*?\*\/|\/\/.*/g, ''));

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name));
}

const byNumber = (a: string, b: string): number => a.localeCompare(b, 'en', { numeric: true });

describe('docs/vfio.md', () => {
  it('has one line for every rule', () => {
    const all = Object.entries(FAMILIES).flatMap(([family, count]) => ruleIds(`${family}-1…${count}`));
    const found = lines.flatMap(({ rules }) => rules).filter((rule) => !OTHERS.includes(rule.split('-')[0]!));
    expect(found.toSorted(byNumber)).toEqual(all.toSorted(byNumber));
  });

  it('points to files that are there', () => {
    const missing = lines.flatMap(({ code, tests, text }) =>
      [...code.filter((path) => !codePath(path)), ...tests.filter((path) => !testPath(path))].map(
        (path) => `${path}: ${text}`,
      ),
    );
    expect(missing).toEqual([]);
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
  const strange = ['platform', 'iommu', 'devices', 'guest', 'vmm', 'tools', 'test']
    .flatMap(sources)
    .filter((path) => !path.endsWith('rules.test.ts'))
    .flatMap((path) =>
      ruleIds(readFileSync(path, 'utf8'))
        .filter((rule) => !known.has(rule))
        .map((rule) => `${rule}: ${path.slice(root.length)}`),
    );
  expect([...new Set(strange)].toSorted()).toEqual([]);
});
