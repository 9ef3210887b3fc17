import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Child } from '../../tools/launch/child.ts';
import { type Ended, outcome } from '../tools/livevmm-process.ts';
import { apply, MUTANTS, misfit, parseMutant, readMutants } from './mutant.ts';
import { howItFailed, patienceAfter } from './test-run.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const mutants = readMutants(MUTANTS);
/** Folders of test/mutants: the parts of the product. */
const ROOMS = [
  ...[
    'client',
    'conform',
    'demo',
    'devices',
    'driver',
    'guest',
    'hardware',
    'interrupts',
    'kernel',
    'live-update',
    'mdev',
    'migration',
    'monitor',
    'pkernfs',
  ],
  ...['platform', 'stress', 'type1', 'vfio', 'vmm', 'with'],
];

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'livevmm-mutants-test-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

function write(path: string, text: string): void {
  mkdirSync(dirname(join(dir, path)), { recursive: true });
  writeFileSync(join(dir, path), text);
}

describe('the defects kept here', () => {
  it.each(mutants.map((mutant) => ({ mutant, name: mutant.name })))('$name fits the code', ({ mutant }) => {
    expect(misfit(mutant, ROOT)).toBeUndefined();
  });

  it('are at least eighty, some of every room', () => {
    expect(mutants.length).toBeGreaterThanOrEqual(80);
    expect([...new Set(mutants.map(({ name }) => dirname(name)))]).toEqual(ROOMS);
  });
});

const SAMPLE = `A title

Why it matters,
in words.

test: test/a.test.ts
name: what it promises

file: a.ts
 kept
-old
+new
+newer

file: b.ts
-gone
 kept
`;

describe('a patch', () => {
  it('is read, applied where its old lines are, and taken out again', () => {
    const mutant = parseMutant('room/name', SAMPLE);
    expect(mutant).toMatchObject({ title: 'A title', why: 'Why it matters, in words.', test: 'test/a.test.ts' });
    write('a.ts', 'before\nkept\nold\nafter\n');
    write('b.ts', 'gone\nkept\n');
    write('test/a.test.ts', "it('what it promises', () => {});\n");
    expect(misfit(mutant, dir)).toBeUndefined();
    const read = (): string[] => ['a.ts', 'b.ts'].map((name) => readFileSync(join(dir, name), 'utf8'));
    const undo = apply(mutant, dir);
    expect(read()).toEqual(['before\nkept\nnew\nnewer\nafter\n', 'kept\n']);
    undo();
    expect(read()).toEqual(['before\nkept\nold\nafter\n', 'gone\nkept\n']);
  });

  it.each([
    ['its old lines are not there', 'kept\nolder\n', 'what it promises', 'a.ts: the old lines are there 0 times'],
    ['they are there twice', 'kept\nold\nkept\nold\n', 'what it promises', 'a.ts: the old lines are there 2 times'],
    ['there is no such test', 'kept\nold\n', 'something else', "no test in test/a.test.ts has 'what it promises'"],
  ])('fits no longer when %s', (_what, text, test, message) => {
    write('a.ts', text);
    write('b.ts', 'gone\nkept\n');
    write('test/a.test.ts', `it('${test}', () => {});\n`);
    expect(misfit(parseMutant('room/name', SAMPLE), dir)).toContain(message);
  });

  it.each([
    ['no test', SAMPLE.replace(/^test:.*\n/m, '')],
    ['no reason', SAMPLE.replace('Why it matters,\nin words.\n\n', '')],
    ['a line without a mark', SAMPLE.replace('+newer', 'newer')],
    ['no change', SAMPLE.replace('-old\n+new\n+newer\n', '')],
  ])('is refused with %s', (_what, text) => {
    expect(() => parseMutant('room/name', text)).toThrow('room/name.mutant: ');
  });
});

it('the patience with a test follows the time that it took without the defect, from 10 s to a minute', () => {
  expect([0.5, 5, 100].map(patienceAfter)).toEqual([10_000, 20_000, 60_000]);
});

it.each([
  ['AssertionError: expected 1 to be 3\n    at here', 'AssertionError: expected 1 to be 3'],
  ['Error: STACK_TRACE_ERROR\n    at task (runner.js:1:1)', 'timed out'],
])('a failure is told in one line: %j', (text, line) => {
  expect(howItFailed(text)).toBe(line);
});

/** A mutant of a small file of ours whose test is quick. */
const clockMutant = (patch: string, name = 'counts up'): string => `The clock is off

It is only an example.

test: test/mutants/example.test.ts
name: ${name}

file: test/mutants/example.ts
${patch}`;

async function run(...words: readonly string[]): Promise<Ended> {
  const program = ['--import', 'tsx', join(ROOT, 'test/mutants/run.ts')];
  const child = new Child({ name: 'mutants', argv: [process.execPath, ...program, ...words], detached: false });
  child.stdin.end();
  return outcome(child);
}

/** Ten starts of vitest, on a busy machine. */
const LONG_MS = 240_000;

describe('npm run mutants', () => {
  it(
    'tells a defect that is seen from one that is not, from one that fits no longer and from a test that fails anyway',
    async () => {
      write(
        'a/seen.mutant',
        clockMutant(
          '-export const next = (n: number): number => n + 1;\n+export const next = (n: number): number => n;\n',
        ),
      );
      write('a/survives.mutant', clockMutant("-export const unused = 'a';\n+export const unused = 'b';\n"));
      write('b/outdated.mutant', clockMutant('-nowhere\n+there\n'));
      write(
        'b/unnamed.mutant',
        clockMutant("-export const unused = 'a';\n+export const unused = 'b';\n", 'nothing is called so'),
      );
      const { status, stdout } = await run('--from', dir, '--json');
      expect(status).toBe(1);
      const { mutants } = JSON.parse(stdout) as { mutants: { mutant: string; verdict: string }[] };
      expect(mutants.map(({ mutant, verdict }) => `${mutant}: ${verdict}`)).toEqual([
        'a/seen: seen',
        'a/survives: survived',
        'b/outdated: outdated',
        'b/unnamed: broken',
      ]);
      expect(await run('--from', dir, '--only', 'a/seen')).toMatchObject({
        status: 0,
        stdout: expect.stringContaining('1 of 1 defects seen'),
      });
    },
    LONG_MS,
  );

  it('takes every N-th defect as a part', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) write(`${name}/outdated.mutant`, clockMutant('-nowhere\n+there\n'));
    const { stdout } = await run('--from', dir, '--part', '2/3', '--json');
    const { mutants } = JSON.parse(stdout) as { mutants: { mutant: string }[] };
    expect(mutants.map(({ mutant }) => mutant)).toEqual(['b/outdated', 'e/outdated']);
  });

  it('explains itself', async () => {
    expect(await run('--help')).toMatchObject({ status: 0, stdout: expect.stringMatching(/^Usage: npm run mutants/) });
  });

  it.each([
    [['--part', '4/3'], "--part is I/N with I from 1 to N, not '4/3'"],
    [['--only', 'nothing'], "no mutant and no room 'nothing'"],
    [['--strange'], "Unknown option '--strange'"],
  ])('%j is refused with status 2', async (words, message) => {
    expect(await run(...words)).toMatchObject({ status: 2, stdout: '', stderr: expect.stringContaining(message) });
  });
});
