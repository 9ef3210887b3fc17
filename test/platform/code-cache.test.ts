import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Script } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Bundle, runBundle } from '../../platform/code-cache.ts';

const OPTION = '--no-rehash-snapshot';
const require = createRequire(import.meta.url);
let folder: string;
let starter: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-code-'));
  starter = join(folder, 'bundle.cjs');
});
afterEach(() => rmSync(folder, { recursive: true }));

const program = (answer: string): void => writeFileSync(join(folder, 'bundle.code.cjs'), answers(answer));
const answers = (answer: string): string => `#!/usr/bin/env node\nmodule.exports = [${answer}, __filename];`;

/** Keeps what V8 makes of the program. */
function keep(options: readonly string[] = []): void {
  const bundle = new Bundle(starter, options);
  writeFileSync(bundle.cachePath, Buffer.concat([bundle.code, bundle.script().createCachedData()]));
}

/** What the bundle exports. */
function run(options: readonly string[] = []): unknown {
  const module = { filename: starter, exports: undefined as unknown };
  runBundle(require, module as NodeJS.Module, options);
  return module.exports;
}

function isAccepted(options: readonly string[] = []): boolean {
  const bundle = new Bundle(starter, options);
  const kept = bundle.kept();
  return kept !== undefined && bundle.script(kept).cachedDataRejected === false;
}

describe('a bundle', () => {
  it('runs as the module of its starter, with and without what V8 has kept', () => {
    program('1');
    expect(run()).toEqual([1, starter]);
    keep();
    expect(isAccepted()).toBe(true);
    expect(run()).toEqual([1, starter]);
  });

  it('runs as it is now, where it was changed and is as long as before', () => {
    program('1');
    keep();
    program('2');
    expect(run()).toEqual([2, starter]);
    // V8 alone would not see it
    const before = new Script(answers('1').replace('#!', '//'));
    const after = new Script(answers('2').replace('#!', '//'), { cachedData: before.createCachedData() });
    expect(after.cachedDataRejected).toBe(false);
  });

  it.each([
    ['an empty file', ''],
    ['less than the program', answers('1').slice(0, 9)],
    ['the program alone', answers('1')],
    ['rubbish behind the program', `${answers('1')}rubbish`],
  ])('runs where %s is kept', (_, content) => {
    program('1');
    writeFileSync(join(folder, 'bundle.cache'), content);
    expect(run()).toEqual([1, starter]);
  });

  it('has one cache for each set of options', () => {
    program('1');
    keep([OPTION]);
    expect([isAccepted(), isAccepted([OPTION])]).toEqual([false, true]);
    copyFileSync(join(folder, `bundle${OPTION}.cache`), join(folder, 'bundle.cache'));
    expect(isAccepted()).toBe(true);
  });

  it('is an error where it is missing or no program', () => {
    expect(() => run()).toThrow(/ENOENT/);
    program('let let');
    expect(() => run()).toThrow(SyntaxError);
  });
});
