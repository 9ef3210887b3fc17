/** registers.c and instructions.c under `livevmm with --map-registers`. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { hasCompiler } from '../../../tools/launch/compiler.ts';
import { Sandbox } from '../livevmm-process.ts';

const sourceOf = (name: string): string => fileURLToPath(new URL(`./${name}.c`, import.meta.url));
const isPossible = process.arch === 'x64' && hasCompiler();
/** With it comes movbe. */
const hasAvx2 = /^flags.*\bavx2\b/m.test(readFileSync('/proc/cpuinfo', 'latin1'));
const ID = 'id 010000ed';
const USED = [`${ID}, inverted ffffedcb, 10! = 3628800`, `only mapped: ${ID}, EBUSY`, 'unmapped: ok'];

describe.skipIf(!isPossible)('a program that maps registers', () => {
  const sandbox = new Sandbox();
  const folder = mkdtempSync(join(tmpdir(), 'with-registers-'));
  beforeAll(() => {
    for (const name of ['registers', 'instructions']) {
      execFileSync('cc', ['-w', '-O1', '-pthread', '-o', join(folder, name), sourceOf(name)]);
    }
  });
  afterAll(() => {
    sandbox.remove();
    rmSync(folder, { recursive: true });
  });

  async function run(program: string, device: string, ...words: readonly string[]) {
    const options = ['--map-registers', '--device', device];
    const { status, stdout, stderr } = await sandbox.run('with', ...options, '--', join(folder, program), ...words);
    return { status, lines: stdout.trimEnd().split('\n'), stderr };
  }

  it('uses the device, also when the mapping is all that it has left of it', async () => {
    expect(await run('registers', 'edu', 'using')).toEqual({ status: 0, lines: USED, stderr: '' });
  });

  it('gets SIGBUS while memory decoding is off', async () => {
    expect(await run('registers', 'edu', 'withdrawing')).toEqual({
      status: 0,
      lines: ['decoding is off: BUS', `on again: ${ID}`],
      stderr: '',
    });
  });

  it('has threads, children that are stopped and killed, and other images', async () => {
    expect(await run('registers', 'edu', 'processes')).toEqual({
      status: 0,
      lines: [
        ...['two threads: 50, 50', 'child stopped by STOP', `child: ${ID}`, 'child ended by KILL'],
        ...['50 of 50 are waited for as soon as they have ended', ...USED],
      ],
      stderr: '',
    });
    expect(sandbox.leftovers()).toEqual([]);
  });

  it('gets SIGBUS for an instruction that is not emulated, and is told which', async () => {
    expect(await run('registers', 'edu', 'unknown')).toEqual({
      status: 0,
      lines: ['x87: SIGBUS', 'a hole: SIGBUS', ID],
      stderr: expect.stringMatching(/^livevmm: thread \d+: --map-registers does not know the instruction d900/),
    });
  });

  it('gets the registers, flags and bytes that the instruction would give', async () => {
    expect(await run('instructions', 'ivshmem-plain,memdev=one')).toEqual({
      status: 0,
      lines: hasAvx2 ? ['176 of 176 alike', '33 of 33 alike'] : ['176 of 176 alike'],
      stderr: '',
    });
  });
});
