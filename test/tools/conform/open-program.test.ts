import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

import { copyProgram } from '../../../tools/conform/open-program.ts';

const NOBODY = 65534;

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'open-program-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

it.runIf(process.getuid!() === 0)("the client's program is one that another user can start", () => {
  chmodSync(dir, 0o711);
  const program = copyProgram(dir);
  const who = { uid: NOBODY, gid: NOBODY, input: '', encoding: 'utf8' } as const;

  // Without a case it ends as it ends after one.
  expect(spawnSync(process.execPath, [program], who)).toMatchObject({ signal: 'SIGKILL', stderr: '' });

  chmodSync(dir, 0o700);
  expect(spawnSync(process.execPath, [program], who).stderr).toContain('Cannot find module');
});
