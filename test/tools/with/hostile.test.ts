/** hostile.c: a program that does its worst harms itself only. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { hasCompiler } from '../../../tools/launch/compiler.ts';
import { Sandbox } from '../livevmm-process.ts';

const SOURCE = fileURLToPath(new URL('./hostile.c', import.meta.url));
/** So many are enough for a change; LIVEVMM_HOSTILE_CALLS=100000 takes some minutes. */
const CALLS = Number(process.env.LIVEVMM_HOSTILE_CALLS ?? 2000);
const LIMIT_MS = 10_000 + 10 * CALLS;
const seed = Math.floor(Math.random() * 2 ** 32);

describe.skipIf(!hasCompiler())('a hostile program', () => {
  const sandbox = new Sandbox();
  const folder = mkdtempSync(join(tmpdir(), 'with-hostile-'));
  beforeAll(() => execFileSync('cc', ['-w', '-pthread', '-o', join(folder, 'hostile'), SOURCE]));
  afterAll(() => {
    sandbox.remove();
    rmSync(folder, { recursive: true });
  });

  it.each([
    ['edu', []],
    ['ivshmem-plain', []],
    ['edu', process.arch === 'x64' ? ['--map-registers'] : []],
  ])(
    `with %s %j makes neither its supervisor nor the host fall over (seed ${seed})`,
    async (device, options) => {
      const program = [join(folder, 'hostile'), `${seed}`, `${CALLS}`];
      const ended = await sandbox.run('with', '--device', device, ...options, '--', ...program);
      expect(ended).toEqual({ status: 0, stdout: `${CALLS} calls, then version 0\n`, stderr: '' });
      expect(sandbox.leftovers()).toEqual([]);
    },
    LIMIT_MS,
  );
});
