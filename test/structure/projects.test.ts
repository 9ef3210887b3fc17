import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

import { importsOf } from '../imports.ts';
import { STARTERS, testFiles } from '../projects.ts';

/**
 * The folders of test/ and the projects of vitest.config.ts. This file is a unit test itself, so it
 * names nothing that starts a process in an import.
 */

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Files of ours that `path` names in imports that remain at run time. */
const named = (path: string): string[] =>
  importsOf(path, readFileSync(join(root, path), 'utf8'))
    .filter(({ typeOnly }) => !typeOnly)
    .map(({ target }) => target);

const filesOfTests = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => `test/${name}`);
const namedByTests = [...new Set(filesOfTests.flatMap(named))];

describe('a unit test', () => {
  it.each(['spawn', 'spawnSync', 'exec', 'execSync', 'execFile', 'execFileSync', 'fork'])(
    'cannot start a process by %s',
    async (name) => {
      const module = 'node:child_process';
      const calls = (await import(module)) as Record<string, (file: string) => void>;
      expect(() => calls[name]!('true')).toThrow('a unit test starts no process');
    },
  );

  it('cannot start a thread', async () => {
    const module = 'node:worker_threads';
    const { Worker } = (await import(module)) as typeof import('node:worker_threads');
    expect(() => new Worker('', { eval: true })).toThrow('a unit test starts no process and no thread');
  });
});

describe('what starts a process or a thread', () => {
  it('is on the list that tells process tests from unit tests, if a test uses it', () => {
    const ours = namedByTests.filter((path) => !path.startsWith('test/') && existsSync(join(root, path)));
    const starts = ['node:child_process', 'platform/thread.ts', 'piscina'];
    const starters = ours.filter((path) => named(path).some((target) => starts.includes(target)));
    expect(starters.filter((path) => !STARTERS.includes(path))).toEqual([]);
  });

  it('is on that list only if a test uses it', () => {
    expect(STARTERS.filter((name) => !namedByTests.includes(name))).toEqual([]);
  });
});

/** Folders of test/ that are named for a subject and not for a room. */
const SUBJECTS = ['conformance', 'examples', 'explore', 'linux', 'live-update', 'mutants', 'structure'];

it('a test file lies where its source does, or in a folder of a subject', () => {
  const folders = [...new Set(testFiles.map((path) => dirname(path).replace(/^test\//, '')))];
  expect(folders.filter((folder) => !SUBJECTS.includes(folder) && !existsSync(join(root, folder)))).toEqual([]);
});

it('.ci/run names tests that are there', () => {
  const paths = readFileSync(join(root, '.ci/run'), 'utf8').match(/\btest\/[\w/.-]+/g) ?? [];
  expect(paths.length).toBeGreaterThan(0);
  expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});
