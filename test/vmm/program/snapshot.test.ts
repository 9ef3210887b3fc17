import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { KEEP_HASHES } from '../../../platform/v8-options.ts';
import { programPath } from '../../../tools/launch/programs.ts';

const dist = dirname(programPath('vmm'));
const BUILDER = 'vmm-build-snapshot.cjs';
const BUNDLE = 'vmm-snapshot.cjs';
const RECORD = `vmm-snapshot${KEEP_HASHES}.cache`;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-snapshot-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Makes a snapshot of the build in this folder. Returns its size. */
function size(build: string): number {
  const blob = join(folder, 'blob');
  const words = [KEEP_HASHES, '--snapshot-blob', blob, '--build-snapshot', join(build, BUILDER)];
  execFileSync(process.execPath, words, { stdio: 'pipe' }); // an error has what it said
  return statSync(blob).size;
}

/** The same build without a record of what an update calls. */
function unrecorded(): string {
  for (const name of [BUILDER, BUNDLE]) copyFileSync(join(dist, name), join(folder, name));
  return folder;
}

/**
 * Without a snapshot updates are only slower, so nothing else would say why: while it is built
 * there is no SharedArrayBuffer, nor what is new in V8.
 */
describe('a snapshot', () => {
  it('can be built of the program, and has what a recorded update calls compiled', () => {
    const compiled = size(dist) - size(unrecorded());
    expect(compiled).toBeGreaterThan(2 ** 18);
    expect(compiled).toBeLessThan(2 ** 20); // all functions have more
  });

  it.each([
    ['of another program', `${' '.repeat(2 ** 20)}a record`],
    ['that is empty', ''],
  ])('has nothing compiled for a record %s', (_, record) => {
    const without = size(unrecorded());
    writeFileSync(join(folder, RECORD), record);
    expect(Math.abs(size(folder) - without)).toBeLessThan(2 ** 16); // no two are of the same size
  });
});
