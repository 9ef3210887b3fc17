import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

import { KEEP_HASHES } from '../../../platform/v8-options.ts';
import { programPath } from '../../../tools/launch/programs.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-snapshot-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/**
 * Without a snapshot updates are only slower, so nothing else would say why: while it is built
 * there is no SharedArrayBuffer, nor what is new in V8.
 */
it('can be built of the program', () => {
  const blob = join(folder, 'blob');
  const builder = join(dirname(programPath('vmm')), 'vmm-build-snapshot.cjs');
  const words = [KEEP_HASHES, '--snapshot-blob', blob, '--build-snapshot', builder];
  execFileSync(process.execPath, words, { stdio: 'pipe' }); // an error has what it said
  expect(statSync(blob).size).toBeGreaterThan(2 ** 20);
});
