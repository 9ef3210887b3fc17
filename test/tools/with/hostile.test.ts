/** hostile.c: a program that does its worst harms itself only. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Sandbox } from '../livevmm-process.ts';

const SOURCE = fileURLToPath(new URL('./hostile.c', import.meta.url));
const hasCompiler = spawnSync('cc', ['--version']).status === 0;
const CALLS = 4000;
const seed = Math.floor(Math.random() * 2 ** 32);

describe.skipIf(!hasCompiler)('a hostile program', () => {
  const sandbox = new Sandbox();
  const folder = mkdtempSync(join(tmpdir(), 'with-hostile-'));
  beforeAll(() => execFileSync('cc', ['-w', '-pthread', '-o', join(folder, 'hostile'), SOURCE]));
  afterAll(() => {
    sandbox.remove();
    rmSync(folder, { recursive: true });
  });

  it(`makes neither its supervisor nor the host fall over (seed ${seed})`, async () => {
    const ended = await sandbox.run('with', '--', join(folder, 'hostile'), `${seed}`, `${CALLS}`);
    expect(ended).toEqual({ status: 0, stdout: `${CALLS} calls, then version 0\n`, stderr: '' });
    expect(sandbox.leftovers()).toEqual([]);
  });
});
