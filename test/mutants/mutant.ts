/**
 * Reads and applies mutants: defects that a test must see, kept as small patches, one file
 * <room>/<name>.mutant each. The file begins with a title, the reason why the defect matters, and
 * the test that catches it. Then comes the patch. For each file it has, in one place, the lines
 * that stay (' '), go ('-') and come ('+'):
 *
 *     Pages are unpinned before the IOTLB flush
 *
 *     A device that has the translation cached writes into memory of somebody else (UNM-15).
 *
 *     test: test/iommu/kernel/vfio/type1/unmap.test.ts
 *     name: UNM-15
 *
 *     file: iommu/kernel/vfio/type1/pin-map.ts
 *     -    for (const { domain } of this.#iommu.domains) domain.flush();
 *          for (const run of runs) this.#iommu.pinner.unpin(run);
 *     +    for (const { domain } of this.#iommu.domains) domain.flush();
 *
 * There are no line numbers: the old lines must be in the file exactly once, anywhere.
 */
import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where those of livevmm are. */
export const MUTANTS = fileURLToPath(new URL('.', import.meta.url));
const SUFFIX = '.mutant';

/** One place of a patch: whole lines, each with its line end. */
export interface Change {
  /** Path from the root of the project. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export interface Mutant {
  /** '<room>/<name>'. */
  readonly name: string;
  readonly title: string;
  readonly why: string;
  /** Path of the test file, from the root of the project. */
  readonly test: string;
  /** Part of the name of the test in it that must fail. */
  readonly testName: string;
  readonly changes: readonly Change[];
}

/** All mutants under `folder`, by name. An Error names the file that makes no sense. */
export function readMutants(folder: string): readonly Mutant[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith(SUFFIX))
    .toSorted()
    .map((path) => parseMutant(path.slice(0, -SUFFIX.length), readFileSync(join(folder, path), 'utf8')));
}

export function parseMutant(name: string, text: string): Mutant {
  const fail = (what: string): never => {
    throw new Error(`${name}${SUFFIX}: ${what}`);
  };
  const [head, title, why, test, testName] =
    /^(\S.*)\n\n(\S(?:.|\n)*?)\n\ntest: (\S+)\nname: (\S.*)\n\n(?=file: )/.exec(text) ??
    fail('does not begin with title, why, `test:`, `name:` and a patch');
  const places = text
    .slice(head!.length)
    .split(/^file: /m)
    .slice(1);
  const changes = places.map((place): Change => {
    const [file = '', ...lines] = place.replace(/\n+$/, '').split('\n');
    const strange = lines.find((line) => !/^[ +-]/.test(line));
    if (strange !== undefined) fail(`a line of a patch begins with a blank, + or -, not \`${strange}\``);
    const side = (marks: string): string =>
      lines
        .filter((line) => marks.includes(line[0]!))
        .map((line) => `${line.slice(1)}\n`)
        .join('');
    const change = { file, find: side(' -'), replace: side(' +') };
    if (change.find === '' || change.find === change.replace) fail(`${file}: the patch changes nothing`);
    return change;
  });
  return { name, title: title!, why: why!.replaceAll('\n', ' '), test: test!, testName: testName!, changes };
}

/** Why a mutant fits the tree at `root` no longer; undefined: it does. */
export function misfit(mutant: Mutant, root: string): string | undefined {
  try {
    if (!readFileSync(join(root, mutant.test), 'utf8').includes(mutant.testName)) {
      return `no test in ${mutant.test} has '${mutant.testName}' in its name`;
    }
    mutated(mutant, root);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Contents of the changed files by path, as they are and as they become. */
function mutated({ changes }: Mutant, root: string): Map<string, { readonly before: string; readonly after: string }> {
  const files = new Map<string, { readonly before: string; readonly after: string }>();
  for (const { file, find, replace } of changes) {
    const before = files.get(file)?.before ?? readFileSync(join(root, file), 'utf8');
    const text = files.get(file)?.after ?? before;
    const [at, ...more] = linesAt(text, find);
    if (at === undefined || more.length > 0) {
      throw new Error(`${file}: the old lines are there ${at === undefined ? 0 : 1 + more.length} times, not once`);
    }
    files.set(file, { before, after: text.slice(0, at) + replace + text.slice(at + find.length) });
  }
  return files;
}

/** Where whole lines begin in a text. */
function linesAt(text: string, lines: string): number[] {
  const found: number[] = [];
  for (let at = text.indexOf(lines); at >= 0; at = text.indexOf(lines, at + 1)) {
    if (at === 0 || text[at - 1] === '\n') found.push(at);
  }
  return found;
}

/**
 * Puts the defect into the tree at `root`; returns what takes it out again. Throws when it does not
 * fit.
 */
export function apply(mutant: Mutant, root: string): () => void {
  const files = mutated(mutant, root);
  for (const [file, { after }] of files) put(join(root, file), after);
  return () => {
    for (const [file, { before }] of files) put(join(root, file), before);
  };
}

/** A new file in place of the old one, whose other names keep their content. */
function put(path: string, content: string): void {
  writeFileSync(`${path}~`, content);
  renameSync(`${path}~`, path);
}
