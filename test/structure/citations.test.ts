/**
 * What comments and documents cite is there: documents of this repository and their headings, rules
 * of VFIO by id, and the public specification that a section number belongs to.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';

import { familyOf, RULES, rulesDefined } from './vfio-rules.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const MACHINE = 'docs/machine.md';
const FOLDERS = ['platform', 'iommu', 'devices', 'guest', 'vmm', 'tools', 'test', 'docs', 'examples'];
/** This file cites on purpose what is not there. */
const OWN = 'test/structure/citations.test.ts';

/** Look like rule ids and are none: names of others' standards. */
const OTHER_NAMES = ['CRC-32', 'ELF-64', 'IMM-32', 'OP-32', 'UTF-8'];

interface Text {
  /** From the root. */
  readonly path: string;
  readonly text: string;
}

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

function texts(): readonly Text[] {
  const inFolders = FOLDERS.filter((folder) => existsSync(join(ROOT, folder))).flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((name) => `${folder}/${name}`),
  );
  return [...readdirSync(ROOT), ...inFolders]
    .filter((path) => /\.(ts|mjs|md|c|h|S)$/.test(path) && path !== OWN)
    .map((path) => ({ path, text: read(path) }));
}

/**
 * A text as one line, without the marks that begin lines of comments: a citation may go over the
 * end of a line.
 */
const oneLine = (text: string): string => text.replace(/\s*\n[ \t]*(?:\/\/+|\*(?!\/|\*))?[ \t]*/g, ' ');

function headings(markdown: string): string[] {
  const outsideCode = markdown.replace(/^```(?:.|\n)*?^```/gm, '');
  return [...outsideCode.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading]) => heading!.replaceAll('`', '').trim());
}

/** The anchor that a heading has on a web page. */
const anchor = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');

const DOCUMENT = /(?<![\w/.:-])((?:[\w.-]+\/)*[\w-]+\.md)\b(?:#([\w-]+))?/g;

/**
 * Documents and headings that a text cites and that are not there: `docs/x.md`,
 * `docs/x.md, "Heading"`, `(x.md#anchor)`.
 */
function missingDocuments({ path, text }: Text): string[] {
  const line = oneLine(text);
  const missing: string[] = [];
  for (const match of line.matchAll(DOCUMENT)) {
    const [cited, document = '', wanted] = match;
    const found = [document, normalize(join(dirname(path), document))].find((at) => existsSync(join(ROOT, at)));
    if (!found) {
      missing.push(`${path}: ${document}`);
      continue;
    }
    const there = headings(read(found));
    if (wanted && !there.some((heading) => anchor(heading) === wanted)) missing.push(`${path}: ${document}#${wanted}`);
    const after = line.slice(match.index + cited.length);
    const [names = ''] = /^,? ?\(?"[^"]+"(?:(?:,| and) "[^"]+")*/.exec(after) ?? [];
    for (const [, heading] of names.matchAll(/"([^"]+)"/g)) {
      if (!there.includes(heading!)) missing.push(`${path}: ${document}, "${heading}"`);
    }
  }
  if (path.endsWith('.md')) {
    const anchors = headings(text).map(anchor);
    for (const [, own] of line.matchAll(/\]\(#([\w-]+)\)/g))
      if (!anchors.includes(own!)) missing.push(`${path}: #${own}`);
  }
  return missing;
}

const known = new Set(rulesDefined);

/** Rule ids that a text cites and that no rule has; `MAP-1…4` is four of them. */
function missingRules({ path, text }: Text): string[] {
  const missing: string[] = [];
  for (const [id, name, first, last = first] of text.matchAll(
    /(?<![\w-])([A-Z][A-Z0-9]{1,3})-(\d{1,2})(?:…(\d{1,2}))?\b/g,
  )) {
    if (OTHER_NAMES.includes(id)) continue;
    for (let n = Number(first); n <= Number(last); n++) {
      if (!known.has(`${name}-${n}`)) missing.push(`${path}: ${name}-${n}`);
    }
  }
  return missing;
}

/** Short names of public specifications, from the table of the document. */
const specifications = read(MACHINE)
  .split('## Specifications\n')[1]!
  .split('\n')
  .flatMap((line) => /^\| ([^|]*?) +\|/.exec(line)?.[1] ?? [])
  .filter((name) => name !== 'name' && !name.startsWith('-'));

/** A document of ours, or none at all, before a section number: our documents have headings. */
const NO_SECTIONS =
  /(?:[\w-]+\.md|\bDESIGN|\bREADME|(?<!IOMMU )\bspec|\bspecification),? ?§[\d.]*|\bREADME, (?:\d+|")/g;

/** Section numbers that belong to no specification which the file has named before. */
function missingSections({ path, text }: Text): string[] {
  const line = oneLine(text);
  const nameless = [...line.matchAll(NO_SECTIONS)].map(([cited]) => `${path}: ${cited}`);
  const first = line.indexOf('§');
  if (first < 0 || specifications.some((name) => line.slice(0, first).includes(name))) return nameless;
  return [...nameless, `${path}: ${line.slice(first, first + 10)} is a section of what?`];
}

const all = texts();

describe('a citation leads somewhere', () => {
  it('documents and headings', () => {
    expect(all.flatMap(missingDocuments)).toEqual([]);
  });

  it('rules of VFIO', () => {
    expect([...new Set(all.flatMap(missingRules))]).toEqual([]);
  });

  it('sections of public specifications', () => {
    expect(all.flatMap(missingSections)).toEqual([]);
  });
});

describe(RULES, () => {
  it('has each rule once', () => {
    expect(rulesDefined.filter((id, i) => rulesDefined.indexOf(id) !== i)).toEqual([]);
  });

  it('has every family from 1 on without a gap', () => {
    const wanted = [...new Set(rulesDefined.map(familyOf))].flatMap((name) =>
      Array.from({ length: rulesDefined.filter((id) => familyOf(id) === name).length }, (_, i) => `${name}-${i + 1}`),
    );
    expect(rulesDefined).toEqual(wanted);
  });
});

describe('the search for what dangles', () => {
  const at = (text: string): Text => ({ path: 'iommu/x.ts', text });

  it.each([
    'docs/design.md',
    'docs/DESIGN.md, "No such heading"',
    'docs/DESIGN.md ("Memory" and "No such heading")',
    'docs/DESIGN.md#no-such-heading',
    'spec/machine.md',
    ' * (docs/DESIGN.md,\n * "No such\n * heading")',
  ])('finds %j', (text) => {
    expect(missingDocuments(at(text))).toHaveLength(1);
  });

  it.each([
    'docs/DESIGN.md, "Memory"',
    ' * (docs/DESIGN.md, "The\n * IOMMU" and "Memory")',
    'docs/vfio.md#profiles',
    'https://example.org/docs/none.md',
  ])('lets pass %j', (text) => {
    expect(missingDocuments(at(text))).toEqual([]);
  });

  it('finds rules that there are not, in ranges, too, and families that there are not', () => {
    // Put together here: rules.test.ts looks for ids in this file, too.
    const [st, drt, mpa] = ['ST', 'DRT', 'MPA'].map((name) => `${name}-`);
    expect(missingRules(at(`MAP-3, ${st}4, ${drt}6…8, ${mpa}1, CRC-32`))).toEqual([
      `iommu/x.ts: ${st}4`,
      `iommu/x.ts: ${drt}8`,
      `iommu/x.ts: ${mpa}1`,
    ]);
  });

  it.each(['§5.3', '(DESIGN §2)', '// PCI 3.0 §6.1\n// docs/machine.md §1.2', 'vectors README, 21'])(
    'finds %j',
    (text) => {
      expect(missingSections(at(text))).toHaveLength(text.startsWith('(DESIGN') ? 2 : 1);
    },
  );

  it('lets pass a section after the name of its specification', () => {
    expect(missingSections(at('/** The directory (IOMMU spec §2.1, §2.3). */\n// §5.3'))).toEqual([]);
  });
});
